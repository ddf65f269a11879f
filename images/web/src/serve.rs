//! The container's first process: checks, renders, starts supervisord, and decides when and how the container ends.
//!
//! What is running at a time is in [`Programs`]; every connection of a runner (link.rs) has a thread that keeps it
//! true.
//!
//! supervisord looks at its programs and its signals once a second, or when one of its sockets has something to read.
//! So it gets a socket that is good for nothing but a connection that wakes it: its [`DOORBELL`].
//!
//! In: the environment, signals, and what the runners say (link.rs). Out: the container's exit code: 0 where a stop was
//! asked for, else the code of the program that ended (never 0: a program that ends by itself is a failure).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tandem_environment::Environment;
use tandem_environment::limits::Limits;

use crate::link::{self, Launch, Program};
use crate::logs::Log;
use crate::render::{self, Machine};
use crate::run;
use crate::say;
use crate::settings::{Application, Listen, RUN, Role, Settings};

const EXECUTABLE: &str = "/usr/local/bin/tandem-web";
const SUPERVISORD: &str = "/usr/bin/supervisord";
const NGINX: &str = "/usr/sbin/nginx";
/// supervisord's control socket, by its name in the folder. Its password is one that nobody can give.
const DOORBELL: &str = "doorbell.sock";
/// Where programs are found whose PATH is not the container's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the application's own check of its variables may take.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// How long supervisord may take to start everything.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long nginx waits for the application to listen: so a program that ends at once never has a web server in front
/// of it, and a quick one no request that finds nobody. A slow one is covered by nginx's own 502.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);
/// How long the surviving program may take to stop after the other one died; the whole has 5 s.
const FAILURE_LIMIT: Duration = Duration::from_secs(3);
/// How long the last lines may take to be copied to the output.
const LOG_LIMIT: Duration = Duration::from_millis(500);
/// How much longer than SHUTDOWN_TIMEOUT a stop may take, the last lines included; its documentation says so.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// Why the container does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Variable(#[from] tandem_environment::Error),
    #[error("{RUN} cannot be used: {0}: mount a tmpfs on /run")]
    Folder(io::Error),
    #[error("it runs already in this container")]
    Running,
    #[error("PROXY_UPSTREAM is a name, and /etc/resolv.conf names no name server: give an address or a name server")]
    NoNameServer,
    #[error("cannot render a configuration: {0}")]
    Render(#[from] askama::Error),
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
}

/// What the first process waits for.
#[derive(Debug)]
enum Event {
    /// A signal asks for a stop.
    Stop,
    /// Some child ended.
    Child,
    /// A runner took its program over.
    Started,
    /// A program ended with this code.
    Ended(Program, u8),
}

/// The programs that run.
#[derive(Clone, Debug, Default)]
struct Programs(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    /// Nothing is started any more.
    ending: bool,
    programs: Vec<Program>,
}

impl Programs {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> bool {
        self.lock().ending
    }

    /// Notes that `program` is about to be started; `false` means that it must not be.
    fn begin(&self, program: Program) -> bool {
        let mut running = self.lock();
        if !running.ending {
            running.programs.push(program);
        }
        !running.ending
    }

    /// Notes that `program` has ended, and with it the container: what has not been started yet never is.
    fn end(&self, program: Program) {
        let mut running = self.lock();
        running.ending = true;
        running.programs.retain(|other| *other != program);
    }

    /// Lets nothing start any more, and says whether anything runs.
    fn close(&self) -> bool {
        let mut running = self.lock();
        running.ending = true;
        !running.programs.is_empty()
    }
}

/// Serves until the end, and returns the container's exit code.
///
/// # Errors
/// Before anything was started: a variable cannot be used, or the system refuses what is needed.
pub(crate) fn serve(environment: &Environment) -> Result<u8, Error> {
    // Before anything else: the kernel delivers no signal to a PID 1 that has no handler for it, so a stop that comes
    // during the start would be lost.
    let (sender, events) = channel();
    hear_signals(sender.clone())?;
    let settings = Settings::read(environment, &Limits::default())?;
    let machine = machine(&settings)?;
    let launches = launches(&settings, &machine, std::env::vars_os())?;
    if let Some(code) = refusal(&settings.application, &launches, &events)? {
        return Ok(code);
    }
    let folder = Path::new(RUN);
    claim(folder)?;
    let write = |name: &str, text: String| fs::write(folder.join(name), text).map_err(Error::Folder);
    write("nginx.conf", render::nginx(&settings, &machine)?)?;
    write("supervisord.conf", render::supervisord(&settings, EXECUTABLE)?)?;
    raise_file_limit();

    let output = |to: io::Result<_>| to.map(File::from).map_err(|e| Error::System("duplicate the output", e));
    let log = |name, to| Log::start(&folder.join(name), to).map_err(Error::Folder);
    let stdout = log("stdout", output(io::stdout().as_fd().try_clone_to_owned())?)?;
    let stderr = log("stderr", output(io::stderr().as_fd().try_clone_to_owned())?)?;
    let programs = Programs::default();
    hear_runners(folder, launches, &settings, &programs, sender)?;

    say(announcement(&settings, &machine));
    let supervisord = start_supervisord(folder, &stderr)?;
    wake(folder.join(DOORBELL));
    let code = watch(&events, supervisord, &settings, &programs);
    let end = Instant::now() + LOG_LIMIT;
    stdout.finish(end);
    stderr.finish(end);
    Ok(code)
}

/// What is started, in which environment: nginx gets none of the container's variables, the application all of them.
fn launches(
    settings: &Settings,
    machine: &Machine,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<HashMap<&'static str, Launch>, Error> {
    let nginx = Launch {
        command: [NGINX, "-e", "stderr", "-c", &format!("{RUN}/nginx.conf")].map(OsString::from).into(),
        environment: vec![("PATH".into(), PATH.into())],
        listen: machine.addresses().map(|ip| (ip, settings.port).into()).collect(),
    };
    let mut launches = HashMap::from([(Program::Nginx.name(), nginx)]);
    if settings.role == Role::App {
        let application = &settings.application;
        let mut environment: HashMap<OsString, OsString> = variables.collect();
        environment.entry("PATH".into()).or_insert_with(|| PATH.into());
        environment.insert("LISTEN".into(), application.listen.to_string().into());
        // PORT is nginx's. An application that knows nothing but PORT, as twelve-factor applications do, gets its own.
        match application.listen.port() {
            Some(port) => environment.insert("PORT".into(), port.to_string().into()),
            None => environment.remove(OsStr::new("PORT")),
        };
        let command = application.command(search_path(&environment))?;
        launches.insert(
            Program::App.name(),
            Launch { command, environment: environment.into_iter().collect(), listen: vec![] },
        );
    }
    Ok(launches)
}

/// Where the application's programs are looked up.
fn search_path(environment: &HashMap<OsString, OsString>) -> &OsStr {
    environment.get(OsStr::new("PATH")).map_or(OsStr::new(PATH), |path| path)
}

/// Lets the application look at its variables, where it has a command for that. `Some` is the container's code where
/// nothing is to be started: that of a refusal, of which the application has said why, or 0 where a stop was asked for.
fn refusal(
    application: &Application,
    launches: &HashMap<&'static str, Launch>,
    events: &Receiver<Event>,
) -> Result<Option<u8>, Error> {
    let Some(Launch { environment, .. }) = launches.get(Program::App.name()) else { return Ok(None) };
    let environment: HashMap<_, _> = environment.iter().cloned().collect();
    let Some(command) = application.check(search_path(&environment))? else { return Ok(None) };
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let failed = |error| Error::System("run the application's check", error);
    let mut check = Command::new(program);
    let mut check = check.args(arguments).env_clear().envs(environment).stdin(Stdio::null()).spawn().map_err(failed)?;
    let deadline = Some(Instant::now() + CHECK_LIMIT);
    let code = loop {
        match next(events, deadline) {
            Some(Event::Stop) => break 0,
            Some(_) => {
                if let Some(status) = check.try_wait().map_err(failed)? {
                    return Ok((!status.success()).then(|| failure(run::code(status))));
                }
            }
            None => {
                say("APP_CHECK does not end: killing it");
                break 1;
            }
        }
    };
    // It may just have ended by itself.
    let _ = check.kill().and_then(|()| check.wait());
    Ok(Some(code))
}

/// Looks at what nginx's configuration depends on.
fn machine(settings: &Settings) -> Result<Machine, Error> {
    let name_servers = name_servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if settings.role == Role::Proxy && settings.upstream.is_name() && name_servers.is_empty() {
        return Err(Error::NoNameServer);
    }
    Ok(Machine {
        // Asked of the kernel by trying: IPv6 may be compiled out, or switched off for this container.
        ipv6: TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok(),
        root: geteuid().is_root(),
        name_servers,
    })
}

/// The name servers of a resolv.conf, those with a scope (fe80::1%eth0) left out: nginx cannot use them.
fn name_servers(resolv_conf: &str) -> Vec<std::net::IpAddr> {
    let server = |line: &str| line.strip_prefix("nameserver")?.trim().parse().ok();
    resolv_conf.lines().filter_map(server).collect()
}

/// Makes the folder this process's own: what an earlier run left (a container that is restarted keeps its files) goes.
fn claim(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::Folder)?;
    if UnixStream::connect(folder.join("link.sock")).is_ok() {
        return Err(Error::Running);
    }
    for entry in fs::read_dir(folder).map_err(Error::Folder)? {
        let entry = entry.map_err(Error::Folder)?;
        let is_folder = entry.file_type().map_err(Error::Folder)?.is_dir();
        let remove = if is_folder { fs::remove_dir_all } else { fs::remove_file };
        remove(entry.path()).map_err(Error::Folder)?;
    }
    Ok(())
}

/// Lets nginx and the application have as many connections as the container allows; what is not allowed, nginx reports.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 17).max(soft), hard);
    }
}

/// Turns signals into events. HUP has no meaning here: the variables of a process cannot change.
fn hear_signals(events: Sender<Event>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD])
        .map_err(|error| Error::System("listen for signals", error))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => continue,
                SIGCHLD => Event::Child,
                _ => Event::Stop,
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Answers the runners, each in a thread of its own.
fn hear_runners(
    folder: &Path,
    launches: HashMap<&'static str, Launch>,
    settings: &Settings,
    programs: &Programs,
    events: Sender<Event>,
) -> Result<(), Error> {
    let listener = UnixListener::bind(folder.join("link.sock")).map_err(Error::Folder)?;
    let launches = Arc::new(launches);
    let application = (settings.role == Role::App).then(|| settings.application.listen.target());
    let programs = programs.clone();
    thread::spawn(move || {
        for mut runner in listener.incoming().flatten() {
            let (launches, application) = (Arc::clone(&launches), application.clone());
            let (programs, events) = (programs.clone(), events.clone());
            thread::spawn(move || {
                let Ok(Some(program)) = link::greet(&mut runner) else { return };
                let Some(launch) = launches.get(program.name()) else { return };
                let _ = events.send(Event::Started);
                if let (Program::Nginx, Some(application)) = (program, &application) {
                    wait_for(application, &programs);
                }
                if !programs.begin(program) {
                    return;
                }
                // A connection that broke, or ended without a code: the runner was killed, and its program is alone.
                let code = link::launch(&mut runner, launch).ok().flatten().unwrap_or(1);
                programs.end(program);
                let _ = events.send(Event::Ended(program, code));
            });
        }
    });
    Ok(())
}

/// Waits until the application listens, or long enough, or until there is nothing to wait for any more.
fn wait_for(application: &Listen, programs: &Programs) {
    let patience = Instant::now() + LISTEN_LIMIT;
    let pause = Duration::from_millis(10);
    let listens = || match application {
        Listen::Unix(path) => UnixStream::connect(path).is_ok(),
        Listen::Tcp(address) => TcpStream::connect_timeout(address, pause).is_ok(),
    };
    while !listens() && !programs.ending() && Instant::now() < patience {
        thread::sleep(pause);
    }
}

/// Starts supervisord with an environment of its own, in a process group of its own: Ctrl-C on a terminal must reach
/// this process alone, which then stops the programs in their order.
fn start_supervisord(folder: &Path, stderr: &Log) -> Result<Pid, Error> {
    let failed = |error| Error::System("start supervisord", error);
    let writer = || stderr.writer().map(Stdio::from).map_err(failed);
    let supervisord = Command::new(SUPERVISORD)
        .arg("-c")
        .arg(folder.join("supervisord.conf"))
        .env_clear()
        .env("PATH", PATH)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer()?)
        .stderr(writer()?)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    i32::try_from(supervisord.id()).map(Pid::from_raw).map_err(|error| failed(io::Error::other(error)))
}

/// Wakes supervisord as soon as it has opened its doorbell: by itself it sleeps for a second before it starts anything.
fn wake(doorbell: PathBuf) {
    thread::spawn(move || {
        let patience = Instant::now() + START_LIMIT;
        while !ring(&doorbell) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Wakes supervisord; `false` where it has no ears yet, or none any more.
fn ring(doorbell: &Path) -> bool {
    UnixStream::connect(doorbell).is_ok()
}

/// Waits for the end and brings it about. Returns the container's exit code.
fn watch(events: &Receiver<Event>, supervisord: Pid, settings: &Settings, programs: &Programs) -> u8 {
    let mut missing = Program::of(settings.role).len();
    let mut deadline = Some(Instant::now() + START_LIMIT);
    let mut asked = false;
    let code = loop {
        match next(events, deadline) {
            Some(Event::Stop) if !asked => {
                asked = true;
                deadline = Some(Instant::now() + Duration::from_secs(settings.shutdown_delay.into()));
            }
            Some(Event::Stop) => {}
            Some(Event::Started) => {
                missing = missing.saturating_sub(1);
                if missing == 0 && !asked {
                    deadline = None;
                }
            }
            Some(Event::Ended(program, code)) => {
                say(format_args!("{} ended by itself with code {code}: stopping the container", program.name()));
                break failure(code);
            }
            Some(Event::Child) => {
                if let Some(code) = reap(supervisord) {
                    say(format_args!("supervisord ended by itself with code {code}: stopping the container"));
                    // Nobody is left who could stop the programs in order; the kernel kills them after this process.
                    return failure(code);
                }
            }
            None if asked => break 0,
            None => {
                say("supervisord did not start every program in time: stopping the container");
                break 1;
            }
        }
    };
    // supervisord alone has nothing to stop in order, and may still be starting.
    let _ = kill(supervisord, if programs.close() { Signal::SIGTERM } else { Signal::SIGKILL });
    ring(&Path::new(RUN).join(DOORBELL));
    let limit = if code == 0 { stop_limit(settings) } else { FAILURE_LIMIT };
    let deadline = Some(Instant::now() + limit);
    while let Some(event) = next(events, deadline) {
        if matches!(event, Event::Child) && reap(supervisord).is_some() {
            return code;
        }
    }
    say("not every program stopped in time: killing what is left");
    code
}

/// How long the programs may take to stop, so that the whole keeps to what SHUTDOWN_TIMEOUT promises.
fn stop_limit(settings: &Settings) -> Duration {
    Duration::from_secs(settings.limits.shutdown_timeout.into()) + STOP_MARGIN - LOG_LIMIT
}

/// The next event; `None` when the deadline passes before.
fn next(events: &Receiver<Event>, deadline: Option<Instant>) -> Option<Event> {
    match deadline {
        Some(deadline) => events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
        None => events.recv().ok(),
    }
}

/// Takes every ended child off the kernel's list (a first process inherits all orphans) and returns supervisord's code
/// if it was among them.
fn reap(supervisord: Pid) -> Option<u8> {
    let mut found = None;
    loop {
        let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return found,
            Ok(_) | Err(_) => continue,
        };
        if pid == supervisord {
            found = Some(u8::try_from(code).unwrap_or(1));
        }
    }
}

/// A code that says "failed", whatever the program said.
fn failure(code: u8) -> u8 {
    if code == 0 { 1 } else { code }
}

fn announcement(settings: &Settings, machine: &Machine) -> String {
    let addresses = if machine.ipv6 { "IPv4 and IPv6" } else { "IPv4" };
    let behind = match settings.role {
        Role::App => {
            let application = &settings.application;
            format!("the application {} on {}", application.command.join(" "), application.listen)
        }
        Role::Proxy => format!("the web containers at {}", settings.upstream),
    };
    format!("nginx on port {} ({addresses}, workers: {}) before {behind}", settings.port, settings.limits.workers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(&pairs.iter().copied().collect(), &Limits::below("/nonexistent")).unwrap()
    }

    const MACHINE: Machine = Machine { ipv6: true, root: false, name_servers: Vec::new() };

    /// The application's environment for the container's `pairs`, in name order.
    fn application(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("APP_COMMAND", "sh -c 'exit 0'"), ("PATH", "/bin")];
        all.extend_from_slice(pairs);
        let variables = all.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let launches = launches(&settings(&all), &MACHINE, variables).unwrap();
        let mut shown: Vec<String> = launches["app"]
            .environment
            .iter()
            .filter(|(name, _)| name != "PATH" && name != "APP_COMMAND")
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn secrets_go_to_the_application_alone() {
        let secret = ("DATABASE_PASSWORD", "s3cret");
        assert_eq!(application(&[secret]), ["DATABASE_PASSWORD=s3cret", "LISTEN=unix:/run/tandem/app.sock"]);
        let variables = [(OsString::from(secret.0), OsString::from(secret.1))].into_iter();
        let launches = launches(&settings(&[("WEB_ROLE", "proxy")]), &MACHINE, variables).unwrap();
        assert_eq!(launches.len(), 1);
        assert_eq!(launches["nginx"].environment, [(OsString::from("PATH"), OsString::from(PATH))]);
        assert_eq!(launches["nginx"].listen, ["0.0.0.0:8080".parse().unwrap(), "[::]:8080".parse().unwrap()]);
    }

    #[test]
    fn the_application_never_gets_the_port_of_nginx() {
        assert_eq!(application(&[("PORT", "80")]), ["LISTEN=unix:/run/tandem/app.sock"]);
        assert_eq!(
            application(&[("PORT", "80"), ("LISTEN", "127.0.0.1:3000")]),
            ["LISTEN=127.0.0.1:3000", "PORT=3000"]
        );
    }

    #[test]
    fn name_servers_are_read_as_far_as_nginx_can_use_them() {
        let text = "# none
search a b
nameserver 127.0.0.11
nameserver	::1
nameserver fe80::1%eth0
options ndots:0
";
        let shown: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.11", "::1"]);
    }

    #[test]
    fn an_earlier_run_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        drop(UnixListener::bind(folder.join("link.sock")).unwrap());
        fs::create_dir_all(folder.join("nginx-body/1")).unwrap();
        claim(folder).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }

    #[test]
    fn a_second_start_leaves_the_first_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(folder.path().join("link.sock")).unwrap();
        assert!(matches!(claim(folder.path()), Err(Error::Running)));
        assert!(folder.path().join("link.sock").exists());
    }

    /// These events, and then what SIGCHLD would bring, until the end.
    fn heard(events: impl IntoIterator<Item = Event>) -> Receiver<Event> {
        let (sender, receiver) = channel();
        events.into_iter().for_each(|event| sender.send(event).unwrap());
        thread::spawn(move || {
            while sender.send(Event::Child).is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        receiver
    }

    /// What [`watch`] makes of these events, with a child in supervisord's place that ends on TERM.
    #[expect(clippy::zombie_processes, reason = "watch() waits for it")]
    fn watched(supervisord: &str, events: impl IntoIterator<Item = Event>, programs: &Programs) -> u8 {
        let child = Command::new("sh").args(["-c", supervisord]).spawn().unwrap();
        watch(&heard(events), Pid::from_raw(child.id() as i32), &settings(&[]), programs)
    }

    fn one_runs() -> Programs {
        let programs = Programs::default();
        assert!(programs.begin(Program::Nginx));
        programs
    }

    #[rstest]
    #[case("exec sleep 60", vec![Event::Stop], 0)]
    #[case("exec sleep 60", vec![Event::Started, Event::Started, Event::Ended(Program::App, 3)], 3)]
    #[case("exec sleep 60", vec![Event::Started, Event::Started, Event::Ended(Program::Nginx, 137)], 137)]
    #[case("exec sleep 60", vec![Event::Started, Event::Started, Event::Ended(Program::App, 0)], 1)]
    #[case("kill -9 $$", vec![Event::Started, Event::Started], 137)]
    #[case("exit 0", vec![Event::Started, Event::Started], 1)]
    #[case("trap '' TERM; sleep 60 & wait; wait", vec![Event::Started, Event::Ended(Program::App, 7)], 7)]
    fn the_code_says_what_ended_first(#[case] supervisord: &str, #[case] events: Vec<Event>, #[case] code: u8) {
        let _alone = crate::CHILDREN.lock();
        assert_eq!(watched(supervisord, events, &one_runs()), code);
    }

    #[test]
    fn supervisord_is_not_waited_for_when_nothing_else_runs() {
        let _alone = crate::CHILDREN.lock();
        let programs = one_runs();
        programs.end(Program::Nginx);
        let begin = Instant::now();
        let events = [Event::Started, Event::Ended(Program::App, 78)];
        assert_eq!(watched("trap '' TERM; sleep 60 & wait; wait", events, &programs), 78);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }

    #[test]
    fn nginx_does_not_wait_for_an_application_that_has_ended_and_is_not_started() {
        let programs = one_runs();
        let begin = Instant::now();
        thread::scope(|scope| {
            let nowhere = Listen::Unix("/nonexistent/app.sock".into());
            let programs = &programs;
            scope.spawn(move || wait_for(&nowhere, programs));
            thread::sleep(Duration::from_millis(50));
            programs.end(Program::App);
        });
        assert!(begin.elapsed() < LISTEN_LIMIT / 2, "{:?}", begin.elapsed());
        assert!(!programs.begin(Program::Nginx));
    }

    #[rstest]
    #[case("true", None)]
    #[case("sh -c 'exit 3'", Some(3))]
    #[case("sh -c 'kill -9 $$'", Some(137))]
    #[case("sh -c 'test \"$LISTEN\" = unix:/run/tandem/app.sock'", None)]
    fn the_applications_own_check_comes_first(#[case] check: &str, #[case] code: Option<u8>) {
        assert_eq!(checked(check, []), code);
    }

    #[test]
    fn a_stop_does_not_wait_for_the_check() {
        let begin = Instant::now();
        assert_eq!(checked("sleep 60", [Event::Stop]), Some(0));
        assert!(begin.elapsed() < CHECK_LIMIT / 2, "{:?}", begin.elapsed());
    }

    /// What [`refusal`] makes of these events and of an application with this check.
    fn checked(check: &str, events: impl IntoIterator<Item = Event>) -> Option<u8> {
        let _alone = crate::CHILDREN.lock();
        let pairs = [("APP_COMMAND", "true"), ("APP_CHECK", check)];
        let variables = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let settings = settings(&pairs);
        let launches = launches(&settings, &MACHINE, variables).unwrap();
        refusal(&settings.application, &launches, &heard(events)).unwrap()
    }
}
