//! What the web image runs beside nginx, supervisor and the application.
//!
//! Without an argument it is the container's first process (serve.rs): it checks every variable, renders the
//! configurations, starts supervisord, and ends with the code of whatever ended first. Supervisor starts the programs
//! through `tandem-web run` (run.rs), and Docker asks `tandem-web health` (health.rs). Any other command is started in
//! its place, as in `docker run tandem/web webapp migrate`.

mod health;
mod link;
mod listeners;
mod logs;
mod render;
mod run;
mod serve;
mod settings;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use tandem_environment::Environment;

use crate::link::Program;

/// The first process takes every ended child: tests that have children take turns.
#[cfg(test)]
static CHILDREN: std::sync::Mutex<()> = std::sync::Mutex::new(());

const USAGE: &str = "\
usage: tandem-web [serve]           check the variables, then run nginx and the application
       tandem-web health            ask for HEALTH_PATH through nginx: exit 0 when it is answered with 200
       tandem-web run app|nginx     what supervisor starts; not for people
       tandem-web COMMAND [WORD…]   any other command, started in this one's place";

fn main() -> ExitCode {
    tandem_environment::panic::abort_on_panic();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match *words {
        [] | ["serve"] => finish(serve::serve(&Environment::from_process())),
        ["health"] => finish(health::check(&Environment::from_process()).map(|()| 0)),
        ["run", name] => match Program::named(name) {
            Some(program) => finish(run::run(program)),
            None => finish(Err(USAGE)),
        },
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["serve" | "health" | "run", ..] => finish(Err(USAGE)),
        [option, ..] if option.starts_with('-') => finish(Err(USAGE)),
        _ => replace(&arguments),
    }
}

/// The exit code, or one line on standard error and 1.
fn finish(outcome: Result<u8, impl Display>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(error);
            ExitCode::FAILURE
        }
    }
}

/// Starts another command in this one's place; returns only when that fails.
fn replace(arguments: &[OsString]) -> ExitCode {
    let Some((program, rest)) = arguments.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(rest).exec();
    say(format_args!("cannot start {}: {error}", program.display()));
    ExitCode::from(127)
}

/// One line on standard error, in one piece: nginx and the application write there too, and `eprintln!`'s several
/// writes would let their lines into the middle of this one.
pub(crate) fn say(line: impl Display) {
    let line = format!("tandem-web: {line}\n");
    // Where standard error is gone there is nobody left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}
