//! The runner: what supervisor starts in place of a program. It starts the program as the first process says, passes
//! signals on to it, and tells the first process how it ended.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::link::{self, Launch, Program};
use crate::listeners::Listeners;
use crate::settings::RUN;

/// As in a shell: the program cannot be started.
const CANNOT_START: u8 = 127;

/// Runs `program` until it ends; returns its code, or 0 where the container ends before it was started.
///
/// # Errors
/// The first process cannot be reached, or the outputs cannot be opened.
pub(crate) fn run(program: Program) -> io::Result<u8> {
    let folder = Path::new(RUN);
    // Before anything else: a stop that comes during the start must reach the program too.
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH])?;
    let mut first_process = UnixStream::connect(folder.join("link.sock"))?;
    let Some(launch) = link::ask(&mut first_process, program)? else { return Ok(0) };
    let output = |name: &str| OpenOptions::new().append(true).open(folder.join(name));
    let code = supervise(launch, signals, output("stdout")?.into(), output("stderr")?.into()).unwrap_or_else(|error| {
        say_to_stderr(folder, &format!("tandem-web: cannot start {}: {error}\n", program.name()));
        CANNOT_START
    });
    link::report(&mut first_process, code)?;
    Ok(code)
}

fn supervise(launch: Launch, mut signals: Signals, stdout: Stdio, stderr: Stdio) -> io::Result<u8> {
    let Launch { command, environment, listen } = launch;
    let listeners = Listeners::open(&listen)?;
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .envs(listeners.as_variable().map(|numbers| ("NGINX", numbers)))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let mut door = Some(listeners);
    thread::spawn(move || {
        for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
            if let Signal::SIGQUIT | Signal::SIGTERM | Signal::SIGINT = signal {
                door.take().into_iter().for_each(Listeners::close_the_door);
            }
            // The program may just have ended: then nobody is left to tell.
            let _ = kill(pid, signal);
        }
    });
    Ok(code(child.wait()?))
}

fn say_to_stderr(folder: &Path, line: &str) {
    let written = OpenOptions::new().append(true).open(folder.join("stderr"));
    let _ = written.and_then(|mut stderr| io::Write::write_all(&mut stderr, line.as_bytes()));
}

/// The code of an ended process, as a shell counts: 128 + N where signal N ended it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(number).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn run(command: &[&str], environment: &[(&str, &str)]) -> io::Result<u8> {
        let _alone = crate::CHILDREN.lock();
        let launch = Launch {
            command: command.iter().map(Into::into).collect(),
            environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            listen: vec![],
        };
        supervise(launch, Signals::new([SIGWINCH])?, Stdio::null(), Stdio::null())
    }

    #[rstest]
    #[case("exit 0", 0)]
    #[case("exit 3", 3)]
    #[case("kill -KILL $$", 137)]
    #[case("kill -TERM $$", 143)]
    fn the_code_is_the_programs(#[case] script: &str, #[case] code: u8) {
        assert_eq!(run(&["/bin/sh", "-c", script], &[]).unwrap(), code);
    }

    #[test]
    fn the_environment_is_the_one_that_was_told_and_no_other() {
        let script = r#"[ "$A" = "%(b)s '" ] && [ -z "${CARGO_MANIFEST_DIR-}" ]"#;
        assert_eq!(run(&["/bin/sh", "-c", script], &[("A", "%(b)s '")]).unwrap(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(run(&["/nonexistent"], &[]).is_err());
        assert!(run(&[], &[]).is_err());
    }
}
