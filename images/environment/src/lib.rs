//! What a process in one of the images reads from outside: its environment variables ([`variable`]) and the limits
//! that its container puts on it ([`limits`]). Both images and the web application read them through this crate, so
//! that every variable has the same rules, the same one-line errors and one entry in `docs/configuration.md`.

pub mod docs;
pub mod limits;
pub mod variable;

pub use variable::{Described, Environment, Error, Variable};
