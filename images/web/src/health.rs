//! The image's health check: one request through nginx. No curl is needed in the image.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tandem_environment::Environment;

use crate::settings::Health;

/// Below Docker's own time-out for the check, so that it is this program that says what is wrong.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the container is not healthy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Variable(#[from] tandem_environment::Error),
    #[error("nginx does not answer on port {port}: {source}")]
    Silent { port: u16, source: std::io::Error },
    #[error("{path} is answered with {status:?}")]
    Refused { path: String, status: String },
}

/// Asks for the health path.
///
/// # Errors
/// The answer is not 200, or there is none.
pub(crate) fn check(environment: &Environment) -> Result<(), Error> {
    let Health { port, path } = Health::read(environment)?;
    let status = status(port, &path).map_err(|source| Error::Silent { port, source })?;
    if status.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(Error::Refused { path, status }) }
}

/// The first line of the answer.
fn status(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 256];
    while !answer.contains(&b'\r') && answer.len() < 1024 {
        match stream.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    let line = answer.split(|&b| b == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::net::TcpListener;

    fn answered_with(answer: &'static [u8]) -> Result<(), Error> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer).unwrap();
        });
        check(&[("PORT", port.to_string())].into_iter().collect())
    }

    #[test]
    fn an_answer_of_200_is_healthy() {
        answered_with(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    }

    #[rstest]
    #[case(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")]
    #[case(b"HTTP/1.1 2000 No\r\n\r\n")]
    #[case(b"nonsense")]
    #[case(b"")]
    fn any_other_answer_is_not(#[case] answer: &'static [u8]) {
        assert!(matches!(answered_with(answer), Err(Error::Refused { .. })));
    }
}
