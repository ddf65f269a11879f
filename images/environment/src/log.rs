//! Logs on standard error, one line per event: JSON for machines, text for people. What a program logs and how is
//! configured by the same two variables in all of them.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Variable;

/// The least severe messages that are logged.
pub const LOG_LEVEL: Variable<tracing::Level> = Variable::new(
    "LOG_LEVEL",
    "error, warn, info, debug or trace",
    |value| if value.bytes().all(|b| b.is_ascii_lowercase()) { value.parse().ok() } else { None },
    "the least severe messages that are logged",
)
.default("info");
/// How they are written.
pub const LOG_FORMAT: Variable<LogFormat> = Variable::new(
    "LOG_FORMAT",
    "json or text",
    |value| match value {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => None,
    },
    "one JSON object a line, or lines for people",
)
.default("json");

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}

/// Sends all events of `level` and above to standard error. Called once, by `main`.
pub fn start(level: tracing::Level, format: LogFormat) {
    let mut targets = Targets::new().with_default(level);
    if level <= tracing::Level::INFO {
        // sqlx's pool warns once per dead connection; that a database went away, and why, is said by those who ask it.
        targets = targets.with_target("sqlx_core", LevelFilter::ERROR);
    }
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines).with(targets).init();
}
