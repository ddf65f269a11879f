//! The socket between the container's first process and the runners that supervisor starts (run.rs).
//!
//! A runner says its program's name, receives what to start (command and environment), and says at last with which code
//! the program ended. Three things come for free: neither secrets nor text pass through supervisord, the code of a
//! program killed by a signal is known (supervisor itself only reports -1), and the end of the connection without a
//! code tells that the runner itself was killed. A connection that ends before it said what to start tells the runner
//! that it is too late to start anything.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use crate::settings::Role;

/// A program under supervision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The application.
    App,
    /// nginx.
    Nginx,
}

impl Program {
    /// The programs of a role, in the order of their start.
    pub(crate) fn of(role: Role) -> &'static [Self] {
        match role {
            Role::App => &[Self::App, Self::Nginx],
            Role::Proxy => &[Self::Nginx],
        }
    }

    /// Its name in supervisor's configuration and on the socket.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Nginx => "nginx",
        }
    }

    /// The program of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::App, Self::Nginx].into_iter().find(|program| program.name() == name)
    }
}

/// What a runner has to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Its whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Where it listens with sockets that it inherits.
    pub(crate) listen: Vec<SocketAddr>,
}

impl Launch {
    /// The number of addresses, the addresses, the number of words, the words, then name and value of each variable:
    /// each ended by a NUL, which none can hold.
    fn encode(&self) -> Vec<u8> {
        let mut texts = vec![OsString::from(self.listen.len().to_string())];
        texts.extend(self.listen.iter().map(|address| address.to_string().into()));
        texts.push(self.command.len().to_string().into());
        texts.extend(self.command.iter().cloned());
        texts.extend(self.environment.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        texts.iter().flat_map(|text| text.as_bytes().iter().copied().chain([0])).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut texts = bytes.strip_suffix(&[0])?.split(|&b| b == 0).map(OsStr::from_bytes);
        let addresses: usize = texts.next()?.to_str()?.parse().ok()?;
        let mut listen = Vec::new();
        for _ in 0..addresses {
            listen.push(texts.next()?.to_str()?.parse().ok()?);
        }
        let words: usize = texts.next()?.to_str()?.parse().ok()?;
        let mut command = Vec::new();
        for _ in 0..words {
            command.push(texts.next()?.to_owned());
        }
        let mut environment = Vec::new();
        while let Some(name) = texts.next() {
            environment.push((name.to_owned(), texts.next()?.to_owned()));
        }
        Some(Self { command, environment, listen })
    }
}

/// The first process's side, right after a runner connected: which program it runs. `None` for a stranger.
///
/// # Errors
/// The connection broke.
pub(crate) fn greet(stream: &mut UnixStream) -> io::Result<Option<Program>> {
    let mut name = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte != *b"\n" && name.len() < 16 {
        name.push(byte[0]);
    }
    Ok(std::str::from_utf8(&name).ok().and_then(Program::named))
}

/// The first process's side: tells the runner what to start, and waits for the code of its end. `None`: the runner
/// ended without one.
///
/// # Errors
/// The connection broke.
pub(crate) fn launch(stream: &mut UnixStream, launch: &Launch) -> io::Result<Option<u8>> {
    stream.write_all(&launch.encode())?;
    stream.shutdown(Shutdown::Write)?;
    let mut code = Vec::new();
    stream.read_to_end(&mut code)?;
    Ok(code.first().copied())
}

/// The runner's side: says which program it runs and asks what to start. `None`: nothing any more.
///
/// # Errors
/// The connection broke.
pub(crate) fn ask(stream: &mut UnixStream, program: Program) -> io::Result<Option<Launch>> {
    stream.write_all(format!("{}\n", program.name()).as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Launch::decode(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The runner's side: says with which code the program ended.
///
/// # Errors
/// The connection broke.
pub(crate) fn report(stream: &mut UnixStream, code: u8) -> io::Result<()> {
    stream.write_all(&[code])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn os(bytes: &[u8]) -> OsString {
        OsStr::from_bytes(bytes).to_owned()
    }

    fn text() -> impl Strategy<Value = OsString> {
        prop::collection::vec(1..=255_u8, 0..12).prop_map(|bytes| os(&bytes))
    }

    proptest! {
        #[test]
        fn what_is_told_arrives_unchanged(
            command in prop::collection::vec(text(), 0..5),
            environment in prop::collection::vec((text(), text()), 0..5),
            listen in prop::collection::vec(any::<([u8; 16], u16)>().prop_map(SocketAddr::from), 0..3),
        ) {
            let launch = Launch { command, environment, listen };
            prop_assert_eq!(Launch::decode(&launch.encode()), Some(launch));
        }

        #[test]
        fn a_message_that_was_cut_off_is_noticed(cut in 0..1000_usize) {
            let environment = vec![(os(b"c"), os(b"long"))];
            let launch = Launch { command: vec![os(b"a"), os(b"b")], environment, listen: vec![([0; 4], 80).into()] };
            let bytes = launch.encode();
            prop_assert_ne!(Launch::decode(&bytes[..cut % bytes.len()]), Some(launch));
        }
    }

    #[test]
    fn a_runner_and_the_first_process_understand_each_other() {
        let (mut first, mut runner) = UnixStream::pair().unwrap();
        let sent = Launch { command: vec![os(b"true")], environment: vec![(os(b"A"), os(b"b=c"))], listen: vec![] };
        let expected = sent.clone();
        let server = std::thread::spawn(move || (greet(&mut first).unwrap(), launch(&mut first, &sent).unwrap()));
        assert_eq!(ask(&mut runner, Program::App).unwrap(), Some(expected));
        report(&mut runner, 137).unwrap();
        drop(runner);
        assert_eq!(server.join().unwrap(), (Some(Program::App), Some(137)));
    }

    #[test]
    fn a_runner_that_is_killed_leaves_no_code() {
        let (mut first, mut runner) = UnixStream::pair().unwrap();
        let sent = Launch { command: vec![], environment: vec![], listen: vec![] };
        let server = std::thread::spawn(move || (greet(&mut first).unwrap(), launch(&mut first, &sent).unwrap()));
        ask(&mut runner, Program::Nginx).unwrap();
        drop(runner);
        assert_eq!(server.join().unwrap(), (Some(Program::Nginx), None));
    }

    #[test]
    fn a_runner_that_comes_too_late_is_told_to_start_nothing() {
        let (mut first, mut runner) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || greet(&mut first).unwrap());
        assert_eq!(ask(&mut runner, Program::Nginx).unwrap(), None);
        assert_eq!(server.join().unwrap(), Some(Program::Nginx));
    }

    #[test]
    fn a_stranger_is_not_a_program() {
        let (mut first, mut stranger) = UnixStream::pair().unwrap();
        stranger.write_all(b"sshd\n").unwrap();
        drop(stranger);
        assert_eq!(greet(&mut first).unwrap(), None);
    }
}
