//! Containers, volumes and networks for tests, through the docker command: made with unique names, removed when they
//! go out of scope.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What every name starts with.
pub const PREFIX: &str = "tandem-test-";

/// How many heavy tests run at the same time, however many threads the test harness has: each of them keeps about one
/// processor busy.
const HEAVY_TESTS: u32 = 2;

static COUNT: AtomicU32 = AtomicU32::new(0);
static HEAVY: (Mutex<Heavy>, Condvar) = (Mutex::new(Heavy { running: 0, alone: 0 }), Condvar::new());

/// The heavy tests at this moment.
struct Heavy {
    running: u32,
    /// How many wait until nobody else runs.
    alone: u32,
}

/// The image that `variable` names; without it a line says that the test is skipped.
pub fn image(variable: &str) -> Option<String> {
    let image = std::env::var(variable).ok();
    if image.is_none() {
        // Not through eprintln!, which the test harness keeps to itself when the test passes.
        let _ = writeln!(io::stderr(), "skipped {}: {variable} is not set", thread::current().name().unwrap_or("?"));
    }
    image
}

/// One of the turns that heavy tests take, or all of them, given back when it is dropped.
#[derive(Debug)]
pub struct Turn(u32);

/// Waits for a turn. A test takes only one.
pub fn turn() -> Turn {
    let (heavy, changed) = &HEAVY;
    let mut heavy = heavy.lock().unwrap_or_else(PoisonError::into_inner);
    while heavy.running >= HEAVY_TESTS || heavy.alone > 0 {
        heavy = changed.wait(heavy).unwrap_or_else(PoisonError::into_inner);
    }
    heavy.running += 1;
    Turn(1)
}

/// Waits for all turns: for a test that looks at how long something takes. A test that has one must not ask for more.
pub fn alone() -> Turn {
    let (heavy, changed) = &HEAVY;
    let mut heavy = heavy.lock().unwrap_or_else(PoisonError::into_inner);
    heavy.alone += 1;
    while heavy.running > 0 {
        heavy = changed.wait(heavy).unwrap_or_else(PoisonError::into_inner);
    }
    heavy.alone -= 1;
    heavy.running = HEAVY_TESTS;
    Turn(HEAVY_TESTS)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (heavy, changed) = &HEAVY;
        heavy.lock().unwrap_or_else(PoisonError::into_inner).running -= self.0;
        changed.notify_all();
    }
}

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("{PREFIX}{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs the docker command.
pub fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs the docker command with `input` as its standard input.
pub fn docker_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new("docker");
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that ends without reading everything says why in its output.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Standard output of a docker command that must succeed.
pub fn docker_ok(arguments: &[&str]) -> String {
    ok(&format!("docker {arguments:?}"), docker(arguments))
}

/// Standard output of something that must have succeeded, without the white space around it.
pub fn ok(what: &str, output: Output) -> String {
    assert!(output.status.success(), "{what}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until `check` gives something, for at most `seconds`.
pub fn wait_for<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let began = Instant::now();
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        // A look that costs much, such as a start of kubectl, is taken less often: it must not slow down what it waits
        // for.
        thread::sleep(Duration::from_millis(50).max(2 * began.elapsed()));
    }
}

/// A network, removed at the end.
#[derive(Debug)]
pub struct Network(String);

impl Network {
    /// Makes one.
    pub fn create() -> Self {
        let name = unique("net");
        docker_ok(&["network", "create", &name]);
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}

/// A volume, removed at the end, after the containers that use it.
#[derive(Debug)]
pub struct Volume(String);

impl Volume {
    /// Makes an empty one.
    pub fn create() -> Self {
        Self::with(&[])
    }

    /// Makes one in memory that holds no more than `size`, as tmpfs spells it.
    pub fn in_memory(size: &str) -> Self {
        let option = format!("o=size={size}");
        Self::with(&["--opt=type=tmpfs", "--opt=device=tmpfs", "--opt", &option])
    }

    fn with(options: &[&str]) -> Self {
        let name = unique("volume");
        docker_ok(&[&["volume", "create"], options, &[&name]].concat());
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Runs a shell script as root in a container of `image` that sees the volume at `path` and starts there; its
    /// output.
    pub fn sh(&self, image: &str, path: &str, script: &str) -> String {
        let run = Run::of(image).root().entrypoint("sh").volume(self, path).option(format!("--workdir={path}"));
        run.command(&["-ec", script]).finish().ok()
    }

    /// Writes files, as `(path, mode, content)`, through a container of `image`.
    pub fn write(&self, image: &str, files: &[(&str, &str, &str)]) {
        let mut run = Run::of(image).root().entrypoint("sh").volume(self, "/volume").option("--workdir=/volume");
        let mut script = String::new();
        for (number, (path, mode, content)) in files.iter().enumerate() {
            run = run.env(&format!("CONTENT_{number}"), content);
            script += &format!(
                "mkdir -p \"$(dirname '{path}')\"; printf %s \"$CONTENT_{number}\" > '{path}'; chmod {mode} '{path}'\n"
            );
        }
        run.command(&["-ec", &script]).finish().ok();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "-f", &self.0]);
    }
}

/// A container to be started.
#[derive(Clone, Debug)]
pub struct Run {
    image: String,
    options: Vec<String>,
    command: Vec<String>,
}

impl Run {
    /// A container of this image, with nothing said.
    pub fn of(image: &str) -> Self {
        Self { image: image.to_owned(), options: Vec::new(), command: Vec::new() }
    }

    /// One more option of `docker run`.
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// An environment variable.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("--env").option(format!("{name}={value}"))
    }

    /// Environment variables.
    pub fn envs(self, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |run, (name, value)| run.env(name, value))
    }

    /// Who runs it, as `uid:gid`.
    pub fn user(self, user: &str) -> Self {
        self.option(format!("--user={user}"))
    }

    /// Runs it as root.
    pub fn root(self) -> Self {
        self.user("0:0")
    }

    /// Another program than the image's.
    pub fn entrypoint(self, program: &str) -> Self {
        self.option(format!("--entrypoint={program}"))
    }

    /// A volume, mounted at `path`, which may end with `:ro`. The first container to mount an empty volume gives it the
    /// owner and the mode that the folder has in the image.
    pub fn volume(self, volume: &Volume, path: &str) -> Self {
        self.option("--volume").option(format!("{}:{path}", volume.name()))
    }

    /// The network that it is in.
    pub fn network(self, network: &Network) -> Self {
        self.option(format!("--network={}", network.name()))
    }

    /// A port that is published on a free port of the loopback address.
    pub fn publish(self, port: u16) -> Self {
        self.option(format!("--publish=127.0.0.1::{port}"))
    }

    /// As strictly as the project promises: read-only root, no capability, no new privileges.
    pub fn strict(self) -> Self {
        ["--read-only", "--tmpfs=/run", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
            .into_iter()
            .fold(self, Self::option)
    }

    /// The container's command.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it.
    pub fn start(self) -> Container {
        let container = self.create();
        container.start();
        container
    }

    /// Makes it, to be started later.
    pub fn create(self) -> Container {
        let name = unique("run");
        let mut arguments = vec!["create", "--name", &name];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.push(&self.image);
        arguments.extend(self.command.iter().map(String::as_str));
        docker_ok(&arguments);
        Container { name }
    }

    /// Starts it and waits for its end, for at most a minute.
    pub fn finish(self) -> Finished {
        let container = self.start();
        let code = container.exit_code(60);
        Finished { code, stdout: container.stdout(), stderr: container.stderr(), lifetime: container.lifetime() }
    }
}

/// What is left of a container that ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it lived.
    pub lifetime: Duration,
}

impl Finished {
    /// Its standard output, if it succeeded, without the white space around it.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout.trim().to_owned()
    }
}

/// A container, removed at the end with its anonymous volumes; its log is shown when the test fails.
#[derive(Debug)]
pub struct Container {
    name: String,
}

impl Container {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program in it.
    pub fn exec(&self, command: &[&str]) -> Output {
        docker(&[&["exec", &self.name], command].concat())
    }

    /// Runs a shell script in it.
    pub fn sh(&self, script: &str) -> Output {
        self.exec(&["sh", "-c", script])
    }

    /// Standard output of a shell script that must succeed in it.
    pub fn sh_ok(&self, script: &str) -> String {
        ok(script, self.sh(script))
    }

    /// Runs a program in it with `input` as its standard input.
    pub fn exec_with_input(&self, command: &[&str], input: &[u8]) -> Output {
        docker_with_input(&[&["exec", "-i", &self.name], command].concat(), input)
    }

    /// What it has written to its standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&docker(&["logs", &self.name]).stdout).into_owned()
    }

    /// What it has written to its standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&docker(&["logs", &self.name]).stderr).into_owned()
    }

    /// Both of its outputs, one after the other.
    pub fn log(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Waits until it has written `text` (to either output) at least `times`, for at most `seconds`.
    pub fn wait_for_log(&self, text: &str, times: usize, seconds: u64) {
        wait_for(&format!("the log says {text:?}"), seconds, || {
            let ended = !self.running();
            let found = self.log().matches(text).count() >= times;
            assert!(found || !ended, "the container ended without saying {text:?}");
            found.then_some(())
        });
    }

    /// What `docker inspect` says of it.
    pub fn inspect(&self, format: &str) -> String {
        docker_ok(&["inspect", "-f", format, &self.name])
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// The state of its health check.
    pub fn health(&self) -> String {
        self.inspect("{{.State.Health.Status}}")
    }

    /// Waits until its health check passes, for at most `seconds`.
    pub fn healthy(self, seconds: u64) -> Self {
        self.wait_until_healthy(seconds);
        self
    }

    /// Waits until its health check passes, for at most `seconds`.
    pub fn wait_until_healthy(&self, seconds: u64) {
        wait_for("the container is healthy", seconds, || {
            let state = self.inspect("{{.State.Status}} {{.State.Health.Status}}");
            assert!(state.starts_with("running "), "the container is {state}, not healthy");
            (state == "running healthy").then_some(())
        });
    }

    /// Starts it again, or for the first time.
    pub fn start(&self) {
        docker_ok(&["start", &self.name]);
    }

    /// `docker stop`, with a long grace period; how long it took.
    pub fn stop(&self) -> Duration {
        let begin = Instant::now();
        docker_ok(&["stop", "-t", "60", &self.name]);
        begin.elapsed()
    }

    /// `docker kill`: no process of it does anything more.
    pub fn kill(&self) {
        docker_ok(&["kill", "-s", "KILL", &self.name]);
        self.exit_code(10);
    }

    /// Waits for its end, for at most `seconds`; its code.
    pub fn exit_code(&self, seconds: u64) -> i32 {
        wait_for("the container ends", seconds, || {
            let state = self.inspect("{{.State.Status}} {{.State.ExitCode}}");
            state.strip_prefix("exited ").map(|code| code.parse().unwrap())
        })
    }

    /// How long it lived, as Docker saw it.
    pub fn lifetime(&self) -> Duration {
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

    /// Where a published port can be reached.
    pub fn address(&self, port: u16) -> SocketAddr {
        docker_ok(&["port", &self.name, &format!("{port}/tcp")]).lines().next().unwrap().parse().unwrap()
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
