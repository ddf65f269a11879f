//! Containers for tests, through the docker command: started with unique names, removed when they go out of scope.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client waits for a connection: one that is gone with its address never answers.
const PATIENCE: Duration = Duration::from_secs(2);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The image that `variable` names; without it a line says that the test is skipped.
pub(crate) fn image(variable: &str) -> Option<String> {
    let image = std::env::var(variable).ok();
    if image.is_none() {
        // Not through eprintln!, which the test harness keeps to itself when the test passes.
        let _ = writeln!(io::stderr(), "skipped {}: {variable} is not set", thread::current().name().unwrap_or("?"));
    }
    image
}

/// A name that no other test uses.
fn unique(what: &str) -> String {
    format!("scratch-web-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().unwrap()
}

/// Standard output of a docker command that must succeed.
pub(crate) fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until `check` gives something, for at most `seconds`.
pub(crate) fn wait_for<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A network, removed at the end.
pub(crate) struct Network(pub(crate) String);

impl Network {
    pub(crate) fn create() -> Self {
        let name = unique("net");
        docker_ok(&["network", "create", &name]);
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}

/// A container, removed at the end; its log is shown when the test fails.
pub(crate) struct Container {
    pub(crate) name: String,
}

impl Container {
    /// Starts the image as strictly as the project promises: read-only root, no capability, no new privileges.
    pub(crate) fn strict(image: &str, options: &[&str]) -> Self {
        let mut all = vec!["--read-only", "--tmpfs=/run", "--tmpfs=/tmp", "--cap-drop=ALL"];
        all.push("--security-opt=no-new-privileges");
        all.extend_from_slice(options);
        Self::start(image, &all, &[])
    }

    /// Starts the image with a stand-in application (standin.py), port 8080 published on a free loopback port.
    pub(crate) fn start(image: &str, options: &[&str], command: &[&str]) -> Self {
        let name = unique("test");
        let standin = format!("{}/tests/standin.py:/standin.py:ro", env!("CARGO_MANIFEST_DIR"));
        let mut all = vec!["run", "-d", "--name", &name, "-p", "127.0.0.1::8080", "-v", &standin];
        let own_command = options.iter().any(|option| option.starts_with("APP_COMMAND=")) || image.contains("flask");
        if !own_command {
            all.extend(["-e", "APP_COMMAND=python3 -S /standin.py"]);
        }
        all.extend_from_slice(options);
        all.push(image);
        all.extend_from_slice(command);
        docker_ok(&all);
        Self { name }
    }

    /// Waits until the application answers through nginx.
    pub(crate) fn serving(self) -> Self {
        wait_for("the container serves", 30, || self.try_get("/healthz").filter(|answer| answer.status == 200));
        self
    }

    /// Where its port 8080 is published.
    pub(crate) fn address(&self) -> SocketAddr {
        docker_ok(&["port", &self.name, "8080/tcp"]).lines().next().unwrap().parse().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"))
    }

    /// Answers to a GET with more header lines.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n{headers}\r\n\r\n");
        self.request(&request).unwrap()
    }

    /// Sends the text as it is and reads one answer.
    pub(crate) fn request(&self, text: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).ok()?;
        Answer::read(&mut stream).ok()
    }

    pub(crate) fn exec(&self, script: &str) -> Output {
        docker(&["exec", &self.name, "sh", "-c", script])
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(docker(&["logs", &self.name]).stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(docker(&["logs", &self.name]).stderr).unwrap()
    }

    pub(crate) fn inspect(&self, format: &str) -> String {
        docker_ok(&["inspect", "-f", format, &self.name])
    }

    /// Waits for the end; its code.
    pub(crate) fn exit_code(&self, seconds: u64) -> i32 {
        wait_for("the container ends", seconds, || {
            let state = self.inspect("{{.State.Status}} {{.State.ExitCode}}");
            state.strip_prefix("exited ").map(|code| code.parse().unwrap())
        })
    }

    /// How long it lived, as Docker saw it.
    pub(crate) fn lifetime(&self) -> Duration {
        // 2026-01-31T23:59:59.123456789Z: the seconds of the day are enough.
        let time = |field: &str| -> f64 {
            let text = self.inspect(&format!("{{{{.State.{field}}}}}"));
            let clock = text.split_once('T').unwrap().1.trim_end_matches('Z');
            clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
        };
        let seconds = (time("FinishedAt") - time("StartedAt")).rem_euclid(86_400.0);
        // Docker notes the end of a very short life before its start.
        Duration::from_secs_f64(if seconds > 86_000.0 { 0.0 } else { seconds })
    }

    /// `docker stop`, with a long grace period; how long it took.
    pub(crate) fn stop(&self) -> Duration {
        let begin = Instant::now();
        docker_ok(&["stop", "-t", "60", &self.name]);
        begin.elapsed()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {}\n{}\n{}---", self.name, self.stdout(), self.stderr());
        }
        docker(&["rm", "-f", "-v", &self.name]);
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The only value of the header, which must not be there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() <= 1, "{name} more than once: {values:?}");
        values.first().copied()
    }

    /// Reads an answer whose length is known, or that ends with the connection.
    pub(crate) fn read(stream: &mut TcpStream) -> io::Result<Self> {
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
pub(crate) struct Met {
    /// Answers of 200, by who served them.
    pub(crate) served_by: HashMap<String, u32>,
    /// Connections that were refused: nobody was there any more, and nothing was lost.
    pub(crate) refused: u32,
    /// Requests that were sent and got no answer, or another one than 200.
    pub(crate) lost: Vec<String>,
}

/// Sends requests from `clients` connections until `run` returns. A client that reads nothing before it is closed, on a
/// connection that was already used and is idle, is no loss only where HTTP lets it retry; here it counts as lost.
pub(crate) fn under_load<T>(
    address: SocketAddr,
    clients: usize,
    keepalive: bool,
    method: &str,
    run: impl FnOnce() -> T,
) -> (T, Met) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..clients).map(|_| scope.spawn(|| client(address, keepalive, method, &stop))).collect();
        let result = run();
        stop.store(true, Ordering::Relaxed);
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
