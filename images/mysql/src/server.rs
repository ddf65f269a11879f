//! mysqld as a child process: to fill a data directory, and for a while, without networking, to run the first start's
//! SQL. The server that serves is not here: the entrypoint becomes it (`exec`).

use std::io::{PipeReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::process::{Child, Command};

use crate::Error;
use crate::datadir::{Version, parse_version};

/// The server's program.
pub const MYSQLD: &str = "mysqld";

/// How often a server that is coming up is asked whether it answers.
const POLL: Duration = Duration::from_millis(20);

/// For a server whose files are worth nothing before the first start's final sync: no fsync, no double writes, no
/// binary log, nothing measured.
const UNSAFE_BUT_FAST: [&str; 6] = [
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--mysqlx=OFF",
];

/// What mysqld's own files may be used by: group 0 too, whichever uid the next container runs as.
pub const SHARED_FILES: [(&str, &str); 2] = [("UMASK", "0660"), ("UMASK_DIR", "0770")];

/// Options that would keep the first start's own connections out, or from writing, whatever the user sets for later.
const LET_US_WORK: [&str; 8] = [
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--skip-networking",
    "--init-connect=",
    "--event-scheduler=OFF",
    "--read-only=OFF",
    "--super-read-only=OFF",
    "--max-connections=100",
    "--max-user-connections=0",
];

/// The same for what is a session's own.
const WORK_SESSION: &str = "SET SESSION autocommit = ON, wait_timeout = 28800, max_execution_time = 0";

/// A login through a local socket.
#[derive(Clone)]
pub struct Login {
    socket: PathBuf,
    user: String,
    password: String,
}

impl Login {
    /// As `user`, through `socket`.
    pub fn new(socket: impl Into<PathBuf>, user: &str, password: &str) -> Self {
        Self { socket: socket.into(), user: user.to_owned(), password: password.to_owned() }
    }

    /// Logs in.
    ///
    /// # Errors
    /// The server is not there, or does not let it in.
    pub async fn connect(&self) -> Result<MySqlConnection, sqlx::Error> {
        let options = MySqlConnectOptions::new()
            .socket(&self.socket)
            .username(&self.user)
            .password(&self.password)
            .charset("utf8mb4")
            .disable_statement_logging();
        match options.connect().await {
            // sqlx takes a socket without TLS for a network, where a password is not sent as it is; for the server the
            // socket is safe, and the first login of an account has to send it. After that a scramble is enough.
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("28000") && self.known_to_client().await => {
                options.connect().await
            }
            connected => connected,
        }
    }

    /// Whether the `mysql` client can log in.
    async fn known_to_client(&self) -> bool {
        let Ok(file) = Pipe::feed(client_options(&self.socket, &self.user, &self.password)) else { return false };
        let mut client = Command::new("mysql");
        client.arg(format!("--defaults-file={}", file.path())).args(["-e", "DO 1"]);
        client.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        client.status().await.is_ok_and(|status| status.success())
    }
}

/// The text of an option file that lets the `mysql` client log in.
pub fn client_options(socket: &Path, user: &str, password: &str) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        format!("\"{text}\"")
    };
    let socket = quoted(&socket.to_string_lossy());
    format!("[client]\nuser={}\npassword={}\nsocket={socket}\n", quoted(user), quoted(password))
}

/// The installed server's version.
///
/// # Errors
/// mysqld cannot be run or its words are not understood.
pub async fn version() -> Result<Version, Error> {
    let failed = |how: String| Error::Program { program: format!("{MYSQLD} --version"), how };
    let output = Command::new(MYSQLD).arg("--version").output().await.map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("Ver ").and_then(|(_, rest)| parse_version(rest));
    version.ok_or_else(|| failed(format!("it says {:?}", text.trim())))
}

/// Lets mysqld check its whole configuration and returns what it says; `Err` where it refuses.
///
/// # Errors
/// mysqld cannot be run.
pub async fn validate(defaults: &Path, arguments: &[String]) -> Result<Result<String, String>, Error> {
    let mut command = mysqld(defaults);
    let output = command
        .args(arguments)
        .args(["--log-error=stderr", "--log-error-verbosity=2", "--validate-config"])
        .output()
        .await;
    let output = output.map_err(|e| Error::Program { program: MYSQLD.to_owned(), how: e.to_string() })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(said) } else { Err(said) })
}

/// mysqld's list of its variables, with the values that the whole configuration gives them.
///
/// # Errors
/// mysqld cannot be run.
pub async fn variables(defaults: &Path, arguments: &[String]) -> Result<String, Error> {
    let output = mysqld(defaults).args(arguments).args(["--verbose", "--help"]).output().await;
    let output = output.map_err(|e| Error::Program { program: MYSQLD.to_owned(), how: e.to_string() })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Text on its way to a child that reads a file, through a pipe: passwords never touch a disk.
pub struct Pipe {
    reader: PipeReader,
}

impl Pipe {
    /// Starts to feed `text` to whoever reads the pipe.
    ///
    /// # Errors
    /// The process is out of file descriptors or threads.
    pub fn feed(text: String) -> Result<Self, Error> {
        let pipe = || -> std::io::Result<PipeReader> {
            let (reader, mut writer) = std::io::pipe()?;
            // Inherited by the child, which opens it by its number.
            fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
            if text.len() <= PIPE_BUFFER {
                writer.write_all(text.as_bytes())?;
            } else {
                // A reader that goes away ends the thread; the reader's exit status tells why.
                std::thread::Builder::new().spawn(move || writer.write_all(text.as_bytes()))?;
            }
            Ok(reader)
        };
        Ok(Self { reader: pipe().map_err(|e| Error::io("pipe", e))? })
    }

    /// The file's name, for the child.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.reader.as_raw_fd())
    }
}

/// What fits into a pipe at once without a reader (pipe(7)).
const PIPE_BUFFER: usize = 64 * 1024;

fn mysqld(defaults: &Path) -> Command {
    let mut command = Command::new(MYSQLD);
    command.arg(format!("--defaults-file={}", defaults.display())).envs(SHARED_FILES).kill_on_drop(true);
    command
}

/// Fills `folder`, which is empty, with a new database, and runs `sql` in it.
///
/// # Errors
/// mysqld fails; it has said why on the container's output.
pub async fn initialize(defaults: &Path, folder: &Path, sql: String, arguments: &[String]) -> Result<(), Error> {
    let init_file = Pipe::feed(sql)?;
    let mut command = mysqld(defaults);
    command
        .args(arguments)
        .arg(format!("--datadir={}", folder.display()))
        .args(UNSAFE_BUT_FAST)
        .arg(format!("--init-file={}", init_file.path()))
        .arg("--initialize-insecure");
    let status = command.status().await.map_err(|e| failed(e.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

fn failed(how: String) -> Error {
    Error::Program { program: MYSQLD.to_owned(), how }
}

/// A server without networking on a data directory of its own, for the first start's SQL.
pub struct Temporary {
    child: Child,
    socket: PathBuf,
    root_password: String,
}

impl Temporary {
    /// Starts it on `folder`, lets it run `sql`, which sets root's password, and waits until it answers on a socket in
    /// `run`, which is also the one folder that it may load files from.
    ///
    /// # Errors
    /// mysqld ends before it answers.
    pub async fn start(
        defaults: &Path,
        folder: &Path,
        run: &Path,
        sql: String,
        root_password: String,
        arguments: &[String],
    ) -> Result<Self, Error> {
        let socket = run.join("mysqld.sock");
        let init_file = Pipe::feed(sql)?;
        let mut command = mysqld(defaults);
        command
            .args(arguments)
            .arg(format!("--datadir={}", folder.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", run.join("mysqld.pid").display()))
            .arg(format!("--secure-file-priv={}", run.display()))
            .args(UNSAFE_BUT_FAST)
            .args(LET_US_WORK)
            .arg(format!("--init-file={}", init_file.path()));
        let child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut server = Self { child, socket, root_password };
        loop {
            // The socket is there before the server answers on it: only a login counts.
            match server.login().connect().await {
                Ok(_) => return Ok(server),
                Err(e @ sqlx::Error::Database(_)) => return Err(Error::sql("logging in to the temporary server")(e)),
                Err(_) => {}
            }
            match server.child.try_wait() {
                Ok(None) => tokio::time::sleep(POLL).await,
                Ok(Some(status)) => return Err(failed(status.to_string())),
                Err(e) => return Err(failed(e.to_string())),
            }
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection as root.
    ///
    /// # Errors
    /// The server does not let it in.
    pub async fn connect(&self) -> Result<MySqlConnection, Error> {
        let failed = || Error::sql("connecting to the temporary server");
        let mut connection = self.login().connect().await.map_err(failed())?;
        sqlx::raw_sql(WORK_SESSION).execute(&mut connection).await.map_err(failed())?;
        Ok(connection)
    }

    fn login(&self) -> Login {
        Login::new(&self.socket, "root", &self.root_password)
    }

    /// Runs the last statements, after which root may not be able to log in any more, ends the server cleanly and waits
    /// for its end.
    ///
    /// # Errors
    /// A statement fails, or the server ends with a failure.
    pub async fn shutdown(mut self, last: &[String]) -> Result<(), Error> {
        let mut root = self.connect().await?;
        for statement in last {
            let done = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut root).await;
            done.map_err(Error::sql("the first start's last statement"))?;
        }
        // mysqld gives connections that are open two seconds to go.
        drop(root);
        // Not by SQL: an expired password allows nothing more.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill(pid, Signal::SIGTERM)).map_err(|e| failed(e.to_string()))?;
        let status = self.child.wait().await.map_err(|e| failed(e.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}
