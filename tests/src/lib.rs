//! What the end-to-end tests share: containers through the docker command ([`docker`]) and a small HTTP client
//! ([`http`]).
//!
//! Everything that a test makes has a name that starts with [`docker::PREFIX`] and is removed at the test's end. A test
//! whose image is not named by a variable is skipped, and says so.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

pub mod docker;
pub mod http;
