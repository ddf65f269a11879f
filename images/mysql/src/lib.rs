//! What the MySQL image runs beside mysqld: entrypoint, health check, data check, sample data.
//!
//! [`entrypoint`] is the container's start. It reads [`settings`], looks at the [`datadir`], writes the option file
//! ([`conf`]), runs a [`first_start`] where the volume is empty (with a temporary [`server`], the init folder's
//! [`scripts`], the bulk [`load`] of a [`dataset`] and its check by [`verify`]), and becomes mysqld, which makes
//! [`accounts`] and passwords what the environment says. While that serves, [`health`] asks it, and before it stops a
//! member of a [`group`] hands over.

pub mod accounts;
pub mod conf;
pub mod datadir;
pub mod dataset;
pub mod entrypoint;
pub mod error;
pub mod first_start;
pub mod group;
pub mod health;
pub mod load;
pub mod pack;
pub mod random;
pub mod record;
pub mod sample;
pub mod scripts;
pub mod server;
pub mod settings;
pub mod snapshot;
pub mod verify;

pub use error::Error;
