//! Logs on standard error, one line per event: JSON for machines, text for people. Requests are logged by nginx in
//! front of us; what is logged here are errors and the process's own life.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Sends all events of `level` and above to standard error. Called once, by `main`.
pub fn start(level: tracing::Level, format: LogFormat) {
    let mut targets = Targets::new().with_default(level);
    if level <= tracing::Level::INFO {
        // The pool warns once per dead connection; that the database went away, and why, is for `db` to say.
        targets = targets.with_target("sqlx_core", LevelFilter::ERROR);
    }
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(targets).init();
}
