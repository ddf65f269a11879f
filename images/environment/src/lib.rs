//! What a process in one of the images reads from outside: its environment variables ([`variable`]) and the limits
//! that its container puts on it ([`limits`]). Both images and the web application read them through this crate, so
//! that every variable has the same rules, the same one-line errors and one entry in `docs/configuration.md`.

pub mod docs;
pub mod limits;
#[cfg(feature = "log")]
pub mod log;
pub mod panic;
pub mod variable;

pub use variable::{Described, Environment, Error, Variable};

/// Read by the web image's first process and by the web application: one variable, one meaning.
pub const SHUTDOWN_TIMEOUT: Variable<u32> = Variable::new(
    "SHUTDOWN_TIMEOUT",
    "seconds from 1 to 3600",
    variable::number::<u32, 1, 3600>,
    "How long requests in flight may take to finish on a stop; what is left then is cut off. The whole stop takes two \
     seconds more at most (the web image: after `SHUTDOWN_DELAY`): give the orchestrator's grace period that sum.",
)
.default("8");
