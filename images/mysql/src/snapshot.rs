//! Data directories made when the image was built: a server that is initialised, and the same with the built-in data
//! set loaded and checked. Unpacking one takes a tenth of the time of making it.
//!
//! A snapshot holds nothing that two servers must not share: its server identifier and its keys are removed, so that
//! each server makes its own, and root's password is set before anybody can log in. It is right for every server
//! option but those that are fixed when a data directory is initialised; with one of those, a first start does without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;

/// Where the image keeps them.
const FOLDER: &str = "/usr/share/tandem/snapshot";

/// What the built image can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// An initialised server with time zones.
    Empty,
    /// The same with the built-in data set.
    Full,
}

/// Options that count only when a data directory is initialised, or that put parts of it elsewhere; and what may hold
/// them unseen.
const FIXED_AT_INIT: [&str; 10] = [
    "!include",
    "innodb_data_",
    "innodb_directories",
    "innodb_log_group_home_dir",
    "innodb_page_size",
    "innodb_redo_log_encrypt",
    "innodb_temp_",
    "innodb_undo_",
    "lower_case_table_names",
    "table_encryption",
];

/// What each server has to make for itself, and what is of no use to it.
const NOT_SHARED: [&str; 4] = ["auto.cnf", "ib_buffer_pool", "mysqld.pid", "#innodb_temp"];

impl Snapshot {
    /// Its file.
    pub fn file(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Empty => "empty.tar.zst",
            Self::Full => "full.tar.zst",
        })
    }

    /// The image's own file, if it was built with one.
    pub fn built_in(self) -> Option<PathBuf> {
        Some(self.file(FOLDER.as_ref())).filter(|file| file.exists())
    }
}

/// Whether a server with these options (names, arguments or whole files, however they are written) can start from a
/// snapshot. When in doubt, no.
pub fn suits<'a>(options: impl IntoIterator<Item = &'a str>) -> bool {
    options.into_iter().all(|text| {
        let spelled = text.to_ascii_lowercase().replace('-', "_");
        !FIXED_AT_INIT.iter().any(|name| spelled.contains(name))
    })
}

/// Unpacks `file` into `folder`, which is empty. The archive carries its own checksum.
///
/// # Errors
/// The archive is damaged, or the folder cannot be written to (a full disk, for example).
pub async fn restore(file: &Path, folder: &Path) -> Result<(), Error> {
    let mut unpack = Command::new("zstd");
    unpack.args(["-dcq", "-T0"]).arg(file);
    let mut extract = Command::new("tar");
    extract.args(["-x", "--no-same-owner", "-C"]).arg(folder);
    pipe(unpack, extract).await
}

/// Removes from the data directory `folder` what servers must not share, and packs the rest into `file`.
///
/// # Errors
/// A file cannot be read or written.
pub async fn pack(folder: &Path, file: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && NOT_SHARED.contains(&&*name) {
            fs::remove_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        } else if NOT_SHARED.contains(&&*name) || name.ends_with(".pem") || name.ends_with(".dblwr") {
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    let mut collect = Command::new("tar");
    collect.args(["-c", "--sparse", "-C"]).arg(folder).arg(".");
    let mut compress = Command::new("zstd");
    compress.args(["-q", "-12", "-T0", "-o"]).arg(file);
    pipe(collect, compress).await
}

/// Runs `from | to`.
async fn pipe(mut from: Command, mut to: Command) -> Result<(), Error> {
    let name = |command: &Command| command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |program: &str, how: String| Error::Program { program: program.to_owned(), how };
    let (first, second) = (name(&from), name(&to));
    let mut source = from.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let source = source.as_mut().map_err(|e| failed(&first, e.to_string()))?;
    let output =
        source.stdout.take().map(TryInto::<Stdio>::try_into).transpose().map_err(|e| failed(&first, e.to_string()))?;
    to.stdin(output.unwrap_or_else(Stdio::null)).kill_on_drop(true);
    let sink = to.output().await.map_err(|e| failed(&second, e.to_string()))?;
    // The command holds the pipe's other end open until it goes.
    drop(to);
    let source = source.wait().await.map_err(|e| failed(&first, e.to_string()))?;
    match (source.success(), sink.status.success()) {
        // tar complains about every single file, and of a full disk not first: one line says it all.
        (_, false) => {
            let said = String::from_utf8_lossy(&sink.stderr);
            let line = said.lines().find(|line| line.contains("No space left")).or_else(|| said.lines().next());
            Err(failed(&second, line.map_or_else(|| sink.status.to_string(), str::to_owned)))
        }
        (false, _) => Err(failed(&first, source.to_string())),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("[mysqld]\nmax_connections = 5\n", true)]
    #[case("[mysqld]\nlower-case-table-names = 1\n", false)]
    #[case("[mysqld]\ninnodb_page_size=32K\n", false)]
    #[case("--innodb-undo-directory=/undo", false)]
    #[case("--Default_Table_Encryption=ON", false)]
    #[case("!include /etc/more.cnf", false)]
    fn options_that_are_fixed_at_initialisation_rule_a_snapshot_out(#[case] text: &str, #[case] suited: bool) {
        assert_eq!(suits([text]), suited);
    }

    #[tokio::test]
    async fn what_was_packed_comes_back_without_what_servers_must_not_share() {
        let root = tempfile::tempdir().unwrap();
        let (from, to, file) = (root.path().join("a"), root.path().join("b"), root.path().join("x.tar.zst"));
        for folder in [&from, &to] {
            fs::create_dir(folder).unwrap();
        }
        for name in ["auto.cnf", "server-key.pem", "mysql.ibd"] {
            fs::write(from.join(name), name).unwrap();
        }
        pack(&from, &file).await.unwrap();
        restore(&file, &to).await.unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(to.join("mysql.ibd")).unwrap(), "mysql.ibd");
        // One damaged byte is noticed.
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(restore(&file, &to).await.is_err());
    }
}
