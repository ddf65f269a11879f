//! The container's start, step by step: whose process is this, what does the environment want, what does the volume
//! hold, does mysqld accept its options; then a first start where one is due; and then this process becomes mysqld.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, User, chown, getuid, initgroups, setgid, setuid};
use tandem_environment::Environment;
use tandem_environment::limits::Limits;
use tokio::signal::unix::{SignalKind, signal};

use crate::accounts::{self, init_file};
use crate::conf;
use crate::datadir::{Content, DataDir};
use crate::first_start::FirstStart;
use crate::server::{self, MYSQLD, Pipe};
use crate::settings::{self, OPTION_PREFIX, Settings, VARIABLES};
use crate::{Error, health};

/// The volume.
const DATA: &str = "/var/lib/mysql";

/// Sockets, the option file and the health check's password: all of it is made anew at every start.
const RUN: &str = "/run/mysqld";

/// Where the health check finds its password.
pub const HEALTH_PASSWORD: &str = "/run/mysqld/health";

/// Arguments after which mysqld only prints something.
const ONLY_PRINTS: [&str; 6] = ["--help", "-?", "--version", "-V", "--print-defaults", "--validate-config"];

/// What the container was started to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve, with these options for mysqld.
    Serve(Vec<String>),
    /// Run this program instead.
    Run(Vec<String>),
}

impl Task {
    /// Understands the container's command as the official image does: options, or `mysqld` and options, serve.
    pub fn of(command: Vec<String>) -> Self {
        let serves = command.first().is_none_or(|first| first == MYSQLD || first.starts_with('-'));
        if !serves {
            return Self::Run(command);
        }
        let options: Vec<String> = command.into_iter().skip_while(|word| word == MYSQLD).collect();
        if options.iter().any(|option| ONLY_PRINTS.contains(&option.as_str())) {
            return Self::Run(std::iter::once(MYSQLD.to_owned()).chain(options).collect());
        }
        Self::Serve(options)
    }
}

/// Replaces this process by `command`.
///
/// # Errors
/// Always: it returns only when the program cannot be started.
pub fn replace(command: &mut Command) -> Error {
    let program = command.get_program().to_string_lossy().into_owned();
    let source = command.exec();
    Error::Program { program, how: source.to_string() }
}

/// Lets signals that stop a container wait: until a first start listens for them, or else until mysqld does, which
/// inherits those that are pending. Without this they are lost, because the kernel delivers no signal to a PID 1 that
/// has no handler for it.
pub fn hold_signals() {
    // It fails for signals that do not exist.
    let _ = stop_signals().thread_block();
}

fn stop_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT])
}

/// As root, gives the data directory to the user mysql and becomes that user; as anyone else, does nothing. Call it
/// while the process has one thread.
///
/// # Errors
/// The container has taken root's capabilities away.
pub fn become_mysql() -> Result<(), Error> {
    // Any uid in group 0 may run the next start.
    umask(Mode::S_IRWXO);
    if !getuid().is_root() {
        return Ok(());
    }
    let drop = || -> io::Result<()> {
        let user = User::from_name("mysql")?.ok_or_else(|| io::Error::other("no user mysql"))?;
        make_run()?;
        for folder in [Path::new(DATA), Path::new(RUN)] {
            give(folder, &user)?;
        }
        initgroups(c"mysql", user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)?;
        Ok(())
    };
    drop().map_err(Error::Privileges)
}

/// Gives a folder and what is below it to `user`, where it belongs to somebody else.
fn give(path: &Path, user: &User) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.uid() != user.uid.as_raw() && !metadata.is_symlink() {
        chown(path, Some(user.uid), None)?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

fn make_run() -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o770).create(RUN)
}

/// Makes the container ready to serve and becomes mysqld.
///
/// # Errors
/// Whatever stops the start; the data directory is as it was, or its first start begins again.
pub async fn serve(environment: &Environment, arguments: Vec<String>) -> Result<Infallible, Error> {
    let data = DataDir::at(DATA);
    let _lock = data.lock()?;
    let content = data.content()?;
    let settings = Settings::read(environment, content == Content::Database)?;
    if let Some(own) = arguments.iter().find(|argument| settings::is_own_option(argument)) {
        return Err(Error::OwnOption(own.clone()));
    }
    let option_files = conf::user_files(Path::new(conf::CONF_D))?;
    for (path, text) in &option_files {
        if let Some(own) = conf::own_option(text) {
            return Err(Error::OwnOption(format!("{}: {own}", path.display())));
        }
    }
    if content == Content::Database {
        data.check_writable()?;
    }
    let defaults = prepare_run(&settings)?;
    let (validated, variables) =
        tokio::try_join!(server::validate(&defaults, &arguments), server::variables(&defaults, &arguments))?;
    let memory = Limits::default().all_memory().unwrap_or(u64::MAX);
    let complaint = match validated {
        Ok(output) => conf::adjustment(&output, &settings.options)
            .or_else(|| conf::oversized(&variables, memory, &settings.options)),
        Err(output) => Some(conf::complaint(&output, &settings.options)),
    };
    if let Some(complaint) = complaint {
        return Err(Error::Configuration(complaint));
    }

    match content {
        Content::Nothing => {
            let option_files: Vec<String> = option_files.into_iter().map(|(_, text)| text).collect();
            let run = Path::new(RUN).join("first-start");
            let first_start = FirstStart {
                settings: &settings,
                data: &data,
                defaults: &defaults,
                option_files: &option_files,
                arguments: &arguments,
                run: &run,
            };
            run_or_stop(&first_start).await?;
        }
        Content::Database => {
            let server = server::version().await?;
            if let Some(version) = data.version().filter(|v| (v.0, v.1) > (server.0, server.1)) {
                return Err(Error::Newer { path: data.path().to_owned(), data: version, server });
            }
            data.finish()?;
        }
    }

    let health_password = crate::random::password()?;
    let root = accounts::root_password(&settings, false);
    let sql = Pipe::feed(init_file(&accounts::statements(&settings, root.as_deref(), &health_password)))?;
    health::write_password(HEALTH_PASSWORD.as_ref(), &health_password)?;
    let mut mysqld = Command::new(MYSQLD);
    mysqld
        .arg(format!("--defaults-file={}", defaults.display()))
        .arg(format!("--init-file={}", sql.path()))
        .args(arguments);
    mysqld.envs(server::SHARED_FILES);
    forget_secrets(&mut mysqld, environment)?;
    Err(replace(&mut mysqld))
}

/// Makes the snapshots that first starts begin with. For the image's build, where nothing is configured yet.
///
/// # Errors
/// mysqld or the data set's check fails.
pub async fn make_snapshots(target: &Path) -> Result<(), Error> {
    let environment = [("MYSQL_ALLOW_EMPTY_PASSWORD", "true"), ("MYSQL_DATABASE", settings::DATASET_DATABASE)];
    let environment = environment.into_iter().collect();
    let settings = Settings::read(&environment, false)?;
    let defaults = prepare_run(&settings)?;
    let run = Path::new(RUN).join("snapshot");
    fs::DirBuilder::new().mode(0o700).create(&run).map_err(|e| Error::io(&run, e))?;
    // As small as can be: the server that starts from the snapshot makes the redo log as large as it wants it, and what
    // loading has left in the undo logs is of no use to anybody.
    let arguments = [
        "--innodb-redo-log-capacity=8M",
        "--innodb-fast-shutdown=0",
        "--innodb-max-undo-log-size=10M",
        "--innodb-purge-rseg-truncate-frequency=1",
    ]
    .map(str::to_owned);
    let data = DataDir::at(&run);
    let first_start = FirstStart {
        settings: &settings,
        data: &data,
        defaults: &defaults,
        option_files: &[],
        arguments: &arguments,
        run: &run,
    };
    first_start.make_snapshots(target).await
}

/// Takes everything that configures this image out of the server's environment.
fn forget_secrets(command: &mut Command, environment: &Environment) -> Result<(), Error> {
    for variable in VARIABLES {
        command.env_remove(variable.name()).env_remove(format!("{}_FILE", variable.name()));
    }
    for (name, _) in environment.with_prefix(OPTION_PREFIX)? {
        command.env_remove(name);
    }
    Ok(())
}

/// Makes the folder for sockets and writes the option file into it.
fn prepare_run(settings: &Settings) -> Result<PathBuf, Error> {
    make_run().map_err(|e| Error::io(RUN, e))?;
    let defaults = Path::new(RUN).join("my.cnf");
    let text = conf::render(&Limits::default(), &settings.options);
    match fs::remove_file(&defaults) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&defaults, e)),
        _ => fs::write(&defaults, text).map_err(|e| Error::io(&defaults, e))?,
    }
    Ok(defaults)
}

/// Runs a first start, and ends it at once when the container is told to stop: it begins again next time.
async fn run_or_stop(first_start: &FirstStart<'_>) -> Result<(), Error> {
    let run = first_start.run;
    if run.exists() {
        fs::remove_dir_all(run).map_err(|e| Error::io(run, e))?;
    }
    fs::DirBuilder::new().mode(0o700).create(run).map_err(|e| Error::io(run, e))?;
    let listen = |kind| signal(kind).map_err(|e| Error::io("signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut stopped = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    // The scripts that it runs must not inherit blocked signals.
    let _ = stop_signals().thread_unblock();
    let done = tokio::select! {
        done = first_start.run() => done,
        signal = stopped() => Err(Error::Stopped(signal)),
    };
    hold_signals();
    // One that came too late to stop the first start is the server's.
    if done.is_ok() && tokio::time::timeout(Duration::from_millis(10), stopped()).await.is_ok() {
        kill(Pid::this(), Signal::SIGTERM).map_err(|e| Error::io("signals", e.into()))?;
    }
    fs::remove_dir_all(run).map_err(|e| Error::io(run, e))?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], Task::Serve(vec![]))]
    #[case(&["mysqld"], Task::Serve(vec![]))]
    #[case(&["mysqld", "--max-connections=5"], Task::Serve(vec!["--max-connections=5".into()]))]
    #[case(&["--skip-log-bin"], Task::Serve(vec!["--skip-log-bin".into()]))]
    #[case(&["--version"], Task::Run(vec!["mysqld".into(), "--version".into()]))]
    #[case(&["mysqld", "--verbose", "--help"], Task::Run(vec!["mysqld".into(), "--verbose".into(), "--help".into()]))]
    #[case(&["bash", "-c", "true"], Task::Run(vec!["bash".into(), "-c".into(), "true".into()]))]
    fn the_command_says_what_to_do(#[case] command: &[&str], #[case] task: Task) {
        assert_eq!(Task::of(command.iter().map(|&word| word.to_owned()).collect()), task);
    }

    #[test]
    fn nothing_of_the_configuration_stays_in_the_servers_environment() {
        let environment: Environment = [("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_CONF_A", "1")].into_iter().collect();
        let mut command = Command::new(MYSQLD);
        forget_secrets(&mut command, &environment).unwrap();
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in ["MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "MYSQL_PASSWORD_FILE", "MYSQL_CONF_A"] {
            assert!(removed.contains(&std::ffi::OsStr::new(name)), "{name}");
        }
    }
}
