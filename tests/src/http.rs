//! A small HTTP client that shows an answer as it came, and a load of many clients at once.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long a client waits for a connection: one that is gone with its address never answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer to a GET, if there is one.
pub fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    get_with(address, path, "Host: example.org")
}

/// The answer to a GET with these header lines.
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> Option<Answer> {
    request(address, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n"))
}

/// Sends the text as it is and reads one answer.
pub fn request(address: SocketAddr, text: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(text.as_bytes()).ok()?;
    Answer::read(&mut stream).ok()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status code; 0 where there is none.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// What follows the header.
    pub body: String,
}

impl Answer {
    /// The only value of the header, which must not be there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() <= 1, "{name} more than once: {values:?}");
        values.first().copied()
    }

    /// Reads an answer whose length is known, or that ends with the connection.
    ///
    /// # Errors
    /// The connection fails or ends before the answer does.
    pub fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(position) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break position + 4;
            }
            more(stream, &mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status: status.unwrap_or(0), headers, body: String::new() };
        match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                while bytes.len() < end + length {
                    more(stream, &mut bytes)?;
                }
            }
            None => while more(stream, &mut bytes).is_ok() {},
        }
        answer.body = String::from_utf8_lossy(&bytes[end..]).into_owned();
        Ok(answer)
    }
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 4096];
    match stream.read(&mut part)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            bytes.extend_from_slice(&part[..count]);
            Ok(())
        }
    }
}

/// What a load of requests met.
#[derive(Debug, Default)]
pub struct Met {
    /// Answers of 200, by who served them.
    pub served_by: HashMap<String, u32>,
    /// Connections that were refused: nobody was there any more, and nothing was lost.
    pub refused: u32,
    /// Requests that were sent and got no answer, or another one than 200.
    pub lost: Vec<String>,
}

/// Sends requests from `clients` connections until `run` returns. A client that reads nothing before it is closed, on a
/// connection that was already used and is idle, is no loss only where HTTP lets it retry; here it counts as lost.
pub fn under_load<T>(
    address: SocketAddr,
    clients: usize,
    keepalive: bool,
    method: &str,
    run: impl FnOnce() -> T,
) -> (T, Met) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..clients).map(|_| scope.spawn(|| client(address, keepalive, method, &stop))).collect();
        let result = {
            // Also where `run` panics, or the workers would be waited for without end.
            let _stops = Stop(&stop);
            run()
        };
        let mut met = Met::default();
        for worker in workers {
            let one = worker.join().unwrap();
            met.refused += one.refused;
            met.lost.extend(one.lost);
            one.served_by.into_iter().for_each(|(name, count)| *met.served_by.entry(name).or_default() += count);
        }
        (result, met)
    })
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn client(address: SocketAddr, keepalive: bool, method: &str, stop: &AtomicBool) -> Met {
    let connection = if keepalive { "keep-alive" } else { "close" };
    let body = if method == "POST" { "Content-Length: 2\r\n\r\nab" } else { "\r\n" };
    let request = format!("{method} / HTTP/1.1\r\nHost: load\r\nConnection: {connection}\r\n{body}");
    let mut met = Met::default();
    let mut open: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut stream) = open.take().or_else(|| TcpStream::connect_timeout(&address, PATIENCE).ok()) else {
            met.refused += 1;
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        match stream.write_all(request.as_bytes()).and_then(|()| Answer::read(&mut stream)) {
            Ok(answer) if answer.status == 200 => {
                *met.served_by.entry(answer.header("x-served-by").unwrap_or("").to_owned()).or_default() += 1;
                if keepalive && answer.header("connection") != Some("close") {
                    open = Some(stream);
                }
            }
            Ok(answer) => met.lost.push(answer.status.to_string()),
            Err(error) => met.lost.push(error.to_string()),
        }
    }
    met
}
