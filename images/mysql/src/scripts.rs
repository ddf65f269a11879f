//! The init folder: what the files in `/docker-entrypoint-initdb.d` mean, and running them, in name order.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;
use crate::server::client_options;
use crate::settings::{RootPassword, Settings};

/// The entry file of a data set's folder, as in a checkout of test_db.
const DATASET_ENTRY: &str = "employees.sql";

/// From 9.7 on, the client runs `source` and its other commands only when told to; older ones do not know the option.
const SOURCE_WORKS: &str = "loose-commands";

/// What is done with one entry of the init folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An executable script.
    Execute,
    /// A script that a shell reads, so that it needs no execute permission.
    Source,
    /// SQL for the `mysql` client; the program that decompresses it first, if any.
    Sql(Option<&'static str>),
    /// A data set, loaded in bulk and checked.
    Dataset,
    /// Nothing, and the log says so.
    Ignore,
}

/// Every entry of the init folder with what will be done with it, in name order.
///
/// # Errors
/// The folder cannot be read. A folder that does not exist is empty.
pub fn plan(folder: &Path) -> Result<Vec<(PathBuf, Action)>, Error> {
    if is_dataset(folder) {
        // A checkout mounted as the init folder itself.
        return Ok(vec![(folder.to_owned(), Action::Dataset)]);
    }
    let listed = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()),
    };
    let mut paths = listed.map_err(|e| Error::io(folder, e))?;
    // What editors, file systems and Kubernetes' volumes keep for themselves.
    paths.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    paths.sort();
    paths.into_iter().map(|path| action(&path).map(|action| (path, action))).collect()
}

fn action(path: &Path) -> Result<Action, Error> {
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if metadata.is_dir() {
        return Ok(if is_dataset(path) { Action::Dataset } else { Action::Ignore });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(match name.rsplit_once('.') {
        Some((_, "sh")) if metadata.permissions().mode() & 0o111 != 0 => Action::Execute,
        Some((_, "sh")) => Action::Source,
        Some((_, "sql")) => Action::Sql(None),
        Some((stem, packed)) if stem.ends_with(".sql") => match packed {
            "gz" => Action::Sql(Some("gzip")),
            "bz2" => Action::Sql(Some("bzip2")),
            "xz" => Action::Sql(Some("xz")),
            "zst" => Action::Sql(Some("zstd")),
            _ => Action::Ignore,
        },
        _ => Action::Ignore,
    })
}

fn is_dataset(folder: &Path) -> bool {
    folder.join(DATASET_ENTRY).is_file() && folder.join("load_employees.dump").is_file()
}

/// The `mysql` client and the scripts' environment, while the temporary server runs.
pub struct Runner<'a> {
    settings: &'a Settings,
    socket: &'a Path,
    login: PathBuf,
    root_password: &'a str,
}

impl<'a> Runner<'a> {
    /// Writes root's login for the `mysql` client into `run`, a folder that only this user can enter.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(settings: &'a Settings, socket: &'a Path, run: &Path, root_password: &'a str) -> Result<Self, Error> {
        let login = run.join("login.cnf");
        let text = client_options(socket, "root", root_password) + "[mysql]\n" + SOURCE_WORKS + "\n";
        fs::write(&login, text).map_err(|e| Error::io(&login, e))?;
        Ok(Self { settings, socket, login, root_password })
    }

    /// Runs one file of the init folder.
    ///
    /// # Errors
    /// It fails: the file is named, its own words are on the container's output.
    pub async fn run(&self, path: &Path, action: &Action) -> Result<(), Error> {
        match action {
            Action::Execute => {
                let mut beginning = [0; 2];
                let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut beginning));
                if read.is_ok() && beginning != *b"#!" && beginning != *b"\x7fE" {
                    // As a shell does with a script that names no interpreter.
                    let mut shell = Command::new("bash");
                    shell.arg(path);
                    return self.script(shell, path).await;
                }
                self.script(Command::new(path), path).await
            }
            Action::Source => {
                let mut shell = Command::new("bash");
                // As the official image reads scripts: the first command that fails ends them.
                shell.args(["-eo", "pipefail", "-c", ". \"$0\""]).arg(path);
                self.script(shell, path).await
            }
            Action::Sql(None) => {
                let file = fs::File::open(path).map_err(|e| Error::io(path, e))?;
                self.client(path, self.settings.database.as_deref(), file.into()).await
            }
            Action::Sql(Some(program)) => {
                let unpacked = || -> std::io::Result<_> {
                    let file = fs::File::open(path)?;
                    let mut unpack = Command::new(program);
                    unpack.arg("-dc").stdin(file).stdout(Stdio::piped()).kill_on_drop(true);
                    let mut child = unpack.spawn()?;
                    let output = child.stdout.take().map(TryInto::<Stdio>::try_into).transpose()?;
                    Ok((child, output.unwrap_or_else(Stdio::null)))
                };
                let (mut child, output) = unpacked().map_err(|e| Error::io(path, e))?;
                self.client(path, self.settings.database.as_deref(), output).await?;
                let status = child.wait().await.map_err(|e| Error::io(path, e))?;
                if status.success() { Ok(()) } else { Err(failure(path, format!("{program}: {status}"))) }
            }
            Action::Dataset | Action::Ignore => Ok(()),
        }
    }

    /// Runs SQL through the `mysql` client, in the folder of `path`, so that `source` finds its neighbours.
    ///
    /// # Errors
    /// The client fails: `path` is named.
    pub async fn client(&self, path: &Path, database: Option<&str>, sql: Stdio) -> Result<(), Error> {
        let mut client = Command::new("mysql");
        client
            .arg(format!("--defaults-extra-file={}", self.login.display()))
            .args(["--default-character-set=utf8mb4", "--comments"])
            .args(database.map(|name| format!("--database={name}")))
            .current_dir(if path.is_dir() { path } else { path.parent().unwrap_or(path) })
            .stdin(sql)
            .kill_on_drop(true);
        let status = client.status().await.map_err(|e| failure(path, e.to_string()))?;
        if status.success() { Ok(()) } else { Err(failure(path, status.to_string())) }
    }

    /// Scripts see what the official image shows them: the values themselves, also where a file gave them, and a
    /// `mysql` that finds the temporary server.
    async fn script(&self, mut command: Command, path: &Path) -> Result<(), Error> {
        command.env("MYSQL_UNIX_PORT", self.socket).kill_on_drop(true);
        if !matches!(self.settings.root_password, RootPassword::Empty) {
            command.env("MYSQL_ROOT_PASSWORD", self.root_password);
        }
        if let Some(database) = &self.settings.database {
            command.env("MYSQL_DATABASE", database);
        }
        if let Some(account) = &self.settings.account {
            command.env("MYSQL_USER", &account.name).env("MYSQL_PASSWORD", &account.password);
        }
        let status = command.status().await.map_err(|e| failure(path, e.to_string()))?;
        if status.success() { Ok(()) } else { Err(failure(path, status.to_string())) }
    }
}

fn failure(path: &Path, how: String) -> Error {
    Error::Script { path: path.to_owned(), how }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_run_in_name_order_by_their_kind() {
        let root = tempfile::tempdir().unwrap();
        for name in ["20-b.sql", "10-a.sh", "30-c.sql.zst", "readme.md", "40-d.sql.rar", "load.dump", "._20-b.sql"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        fs::write(root.path().join("15-x.sh"), "").unwrap();
        fs::set_permissions(root.path().join("15-x.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("50-other")).unwrap();
        let found: Vec<_> = plan(root.path())
            .unwrap()
            .into_iter()
            .map(|(path, action)| (path.file_name().unwrap().to_string_lossy().into_owned(), action))
            .collect();
        let expected = [
            ("10-a.sh", Action::Source),
            ("15-x.sh", Action::Execute),
            ("20-b.sql", Action::Sql(None)),
            ("30-c.sql.zst", Action::Sql(Some("zstd"))),
            ("40-d.sql.rar", Action::Ignore),
            ("50-other", Action::Ignore),
            ("load.dump", Action::Ignore),
            ("readme.md", Action::Ignore),
        ];
        assert_eq!(found, expected.map(|(name, action)| (name.to_owned(), action)));
    }

    #[test]
    fn a_checkout_of_test_db_is_one_entry_wherever_it_is_mounted() {
        let root = tempfile::tempdir().unwrap();
        let checkout = root.path().join("test_db");
        fs::create_dir(&checkout).unwrap();
        for name in ["employees.sql", "employees_partitioned.sql", "load_employees.dump", "objects.sql"] {
            fs::write(checkout.join(name), "").unwrap();
        }
        assert_eq!(plan(root.path()).unwrap(), [(checkout.clone(), Action::Dataset)]);
        assert_eq!(plan(&checkout).unwrap(), [(checkout, Action::Dataset)]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        assert_eq!(plan(Path::new("/nonexistent")).unwrap(), []);
    }
}
