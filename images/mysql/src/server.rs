//! mysqld as a child process: to fill a data directory, and for a while, without networking, to run the first start's
//! SQL. The server that serves is not here: the entrypoint becomes it (`exec`).

use std::io::{PipeReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
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
const LET_US_WORK: [&str; 7] = [
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

/// Options for a login through a local socket.
pub fn login(socket: impl AsRef<Path>, user: &str, password: &str) -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .socket(socket)
        .username(user)
        .password(password)
        .charset("utf8mb4")
        .disable_statement_logging()
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

/// Lets mysqld check its whole configuration. `Err` holds its output.
///
/// # Errors
/// mysqld cannot be run.
pub async fn validate(defaults: &Path, arguments: &[String]) -> Result<Result<(), String>, Error> {
    let mut command = mysqld(defaults);
    let output = command.args(arguments).args(["--log-error=stderr", "--validate-config"]).output().await;
    let output = output.map_err(|e| Error::Program { program: MYSQLD.to_owned(), how: e.to_string() })?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// SQL on its way to a server's `init_file` option, through a pipe: passwords never touch a file.
pub struct InitFile {
    reader: PipeReader,
}

impl InitFile {
    /// Starts to feed `sql` to whoever reads the pipe.
    ///
    /// # Errors
    /// The process is out of file descriptors or threads.
    pub fn feed(sql: String) -> Result<Self, Error> {
        let pipe = || -> std::io::Result<PipeReader> {
            let (reader, mut writer) = std::io::pipe()?;
            // Inherited by mysqld, which opens it by its number.
            fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
            if sql.len() <= PIPE_BUFFER {
                writer.write_all(sql.as_bytes())?;
            } else {
                // A reader that goes away ends the thread; the reader's exit status tells why.
                std::thread::Builder::new().spawn(move || writer.write_all(sql.as_bytes()))?;
            }
            Ok(reader)
        };
        Ok(Self { reader: pipe().map_err(|e| Error::io("pipe", e))? })
    }

    /// The option that makes mysqld read it.
    pub fn option(&self) -> String {
        format!("--init-file=/proc/self/fd/{}", self.reader.as_raw_fd())
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
    let init_file = InitFile::feed(sql)?;
    let mut command = mysqld(defaults);
    command
        .args(arguments)
        .arg(format!("--datadir={}", folder.display()))
        .args(UNSAFE_BUT_FAST)
        .arg(init_file.option())
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
    /// Starts it on `folder` and waits until it answers on a socket in `run`, which is also the one folder that it may
    /// load files from.
    ///
    /// # Errors
    /// mysqld ends before it answers.
    pub async fn start(
        defaults: &Path,
        folder: &Path,
        run: &Path,
        root_password: String,
        arguments: &[String],
    ) -> Result<Self, Error> {
        let socket = run.join("mysqld.sock");
        let mut command = mysqld(defaults);
        command
            .args(arguments)
            .arg(format!("--datadir={}", folder.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", run.join("mysqld.pid").display()))
            .arg(format!("--secure-file-priv={}", run.display()))
            .args(UNSAFE_BUT_FAST)
            .args(LET_US_WORK);
        let child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut server = Self { child, socket, root_password };
        loop {
            // The socket is there before the server answers on it: only a login counts.
            match server.options().connect().await {
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
        let mut connection = self.options().connect().await.map_err(failed())?;
        sqlx::raw_sql(WORK_SESSION).execute(&mut connection).await.map_err(failed())?;
        Ok(connection)
    }

    fn options(&self) -> MySqlConnectOptions {
        login(&self.socket, "root", &self.root_password)
    }

    /// Ends it cleanly and waits for its end.
    ///
    /// # Errors
    /// It ends with a failure.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let mut root = self.connect().await?;
        sqlx::raw_sql("SHUTDOWN").execute(&mut root).await.map_err(Error::sql("shutting the temporary server down"))?;
        let status = self.child.wait().await.map_err(|e| failed(e.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}
