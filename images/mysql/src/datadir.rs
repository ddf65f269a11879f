//! The data directory: what is in it, and the one way in which a first start fills it.
//!
//! A first start happens below `tandem-first-start`, a folder of the volume. Only when the server there has been shut
//! down cleanly and everything is on the disk does the file `.complete` appear; then the entries move up, one rename
//! each. So a kill at any moment leaves one of three states, and each has a way on: no `.complete` (the folder is
//! ours alone: delete it, start over), `.complete` (go on moving), no folder (done). What somebody else put into the
//! volume is never deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use crate::Error;

/// Where a first start works, inside the data directory. Not a hidden folder: InnoDB finds no files in those.
const FIRST_START: &str = "tandem-first-start";

/// In [`FIRST_START`]: present once nothing but moving is left to do.
const COMPLETE: &str = ".complete";

/// What a data directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing that counts: a first start is due.
    Nothing,
    /// A database: ours or somebody else's.
    Database,
}

/// One data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The data directory at `path`, which must exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other containers from a first start in the same volume until the result is dropped, or the process has
    /// become mysqld, which has locks of its own. A file system without such locks goes without.
    ///
    /// # Errors
    /// Another container has it.
    pub fn lock(&self) -> Result<Option<Flock<File>>, Error> {
        let Ok(folder) = File::open(&self.path) else { return Ok(None) };
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::InUse(self.path.clone())),
            locked => Ok(locked.ok()),
        }
    }

    /// What the directory holds; changes nothing.
    ///
    /// # Errors
    /// It cannot be read, or it holds files that are no database.
    pub fn content(&self) -> Result<Content, Error> {
        if self.first_start().join(COMPLETE).exists() || self.path.join("mysql.ibd").exists() {
            return Ok(Content::Database);
        }
        let entries = fs::read_dir(&self.path).map_err(|e| self.unwritable(e))?;
        // What was there before the first start has been looked at then; a log file may have come since.
        if self.first_start().exists() {
            return Ok(Content::Nothing);
        }
        for entry in entries {
            let entry = entry.map_err(|e| Error::io(&self.path, e))?.path();
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // lost+found belongs to the file system, dot files to volume drivers.
            if name != FIRST_START && name != "lost+found" && !name.starts_with('.') {
                return Err(Error::Foreign { path: self.path.clone(), example: name });
            }
        }
        Ok(Content::Nothing)
    }

    /// An empty folder for a first start; what an interrupted one left is deleted.
    ///
    /// # Errors
    /// The data directory is not writable.
    pub fn begin(&self) -> Result<PathBuf, Error> {
        let folder = self.first_start();
        if folder.exists() {
            tracing::warn!("the last first start was interrupted: starting over");
            fs::remove_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        }
        fs::create_dir(&folder).map_err(|e| self.unwritable(e))?;
        Ok(folder)
    }

    /// Makes the first start final: from here on the directory holds a database, whatever happens.
    ///
    /// # Errors
    /// The files could not be forced to the disk, or not moved.
    pub fn commit(&self) -> Result<(), Error> {
        let folder = self.first_start();
        share(&folder).map_err(|e| Error::io(&folder, e))?;
        let on = |path: &Path| File::open(path).map_err(|e| Error::io(path, e));
        // The server ran without a single fsync: one for the whole file system makes up for all of them.
        nix::unistd::syncfs(on(&folder)?).map_err(|e| Error::io(&folder, e.into()))?;
        let complete = folder.join(COMPLETE);
        File::create(&complete).and_then(|f| f.sync_all()).map_err(|e| Error::io(&complete, e))?;
        on(&folder)?.sync_all().map_err(|e| Error::io(&folder, e))?;
        self.finish()
    }

    /// Moves a complete first start into place, where one is left from a start that was killed while it moved, and
    /// removes its folder.
    ///
    /// # Errors
    /// An entry cannot be moved.
    pub fn finish(&self) -> Result<(), Error> {
        let folder = self.first_start();
        if !folder.exists() {
            return Ok(());
        }
        // Without COMPLETE it is what an interrupted start left before somebody put a database here: nothing to move.
        let entries = if folder.join(COMPLETE).exists() { self.entries(&folder)? } else { Vec::new() };
        for from in entries {
            if from.ends_with(COMPLETE) {
                continue;
            }
            let to = self.path.join(from.file_name().unwrap_or_default());
            fs::rename(&from, &to).map_err(|e| Error::io(&from, e))?;
        }
        File::open(&self.path).and_then(|f| f.sync_all()).map_err(|e| Error::io(&self.path, e))?;
        fs::remove_dir_all(&folder).map_err(|e| Error::io(&folder, e))
    }

    /// The version of the server that last ran on these files, as `(major, minor, patch)`; `None` where the files do
    /// not say.
    ///
    /// 8.4 and later keep a JSON file of upgrades; all versions from 8.0 on write their number (80403 for 8.4.3) into
    /// the header of the dictionary's tablespace, at byte 8 (InnoDB's `FIL_PAGE_SRV_VERSION`).
    pub fn version(&self) -> Option<Version> {
        let folder = if self.first_start().join(COMPLETE).exists() { self.first_start() } else { self.path.clone() };
        let history = fs::read_to_string(folder.join("mysql_upgrade_history")).ok();
        history.as_deref().and_then(newest_of_history).or_else(|| tablespace_version(&folder.join("mysql.ibd")))
    }

    /// Says whether a server could write to the database's files.
    ///
    /// # Errors
    /// It could not; the error says what to do.
    pub fn check_writable(&self) -> Result<(), Error> {
        access(&self.path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|e| self.unwritable(e.into()))?;
        for name in ["mysql.ibd", "ibdata1"] {
            match fs::OpenOptions::new().read(true).write(true).open(self.path.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.unwritable(e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The error for a directory that this process cannot write to, with the remedy.
    pub fn unwritable(&self, source: io::Error) -> Error {
        Error::Unwritable { path: self.path.clone(), uid: nix::unistd::getuid().as_raw(), source }
    }

    fn first_start(&self) -> PathBuf {
        self.path.join(FIRST_START)
    }

    fn entries(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let listed = fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
        listed.map_err(|e| Error::io(folder, e))
    }
}

/// Gives the group what the owner may do, for keys too: the next start may have any uid in group 0.
fn share(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | (mode & 0o700) >> 3))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            share(&entry?.path())?;
        }
    }
    Ok(())
}

/// A server's version.
pub type Version = (u32, u32, u32);

/// Reads `9.7.4`, whatever follows it.
pub fn parse_version(text: &str) -> Option<Version> {
    let mut numbers = text.trim().splitn(3, '.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let patch = numbers.next()?;
    let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    Some((major, minor, patch[..digits].parse().ok()?))
}

fn newest_of_history(json: &str) -> Option<Version> {
    let history: serde_json::Value = serde_json::from_str(json).ok()?;
    let versions = history.get("upgrade_history")?.as_array()?;
    versions.iter().filter_map(|entry| parse_version(entry.get("version")?.as_str()?)).max()
}

fn tablespace_version(file: &Path) -> Option<Version> {
    let mut header = [0; 12];
    io::Read::read_exact(&mut File::open(file).ok()?, &mut header).ok()?;
    let number = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    (number >= 80_000).then_some((number / 10_000, number / 100 % 100, number % 100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn directory(files: &[&str]) -> (tempfile::TempDir, DataDir) {
        let root = tempfile::tempdir().unwrap();
        for name in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let data = DataDir::at(root.path());
        (root, data)
    }

    #[rstest]
    #[case(&[])]
    #[case(&["lost+found/x"])]
    #[case(&[".snapshot/x", "lost+found/x"])]
    #[case(&["tandem-first-start/mysql.ibd"])]
    fn nothing_that_counts_means_a_first_start(#[case] files: &[&str]) {
        assert_eq!(directory(files).1.content().unwrap(), Content::Nothing);
    }

    #[rstest]
    #[case(&["mysql.ibd", "ibdata1"])]
    #[case(&["mysql.ibd", "lost+found/x"])]
    #[case(&["tandem-first-start/.complete", "tandem-first-start/mysql.ibd"])]
    #[case(&["ibdata1", "tandem-first-start/.complete", "tandem-first-start/mysql.ibd"])]
    fn a_database_is_recognised_wherever_its_first_start_got_to(#[case] files: &[&str]) {
        assert_eq!(directory(files).1.content().unwrap(), Content::Database);
    }

    #[test]
    fn files_of_something_else_are_refused_and_kept() {
        let (root, data) = directory(&["notes.txt"]);
        let line = data.content().unwrap_err().to_string();
        assert!(line.contains("holds notes.txt, which is no MySQL data"), "{line}");
        assert!(root.path().join("notes.txt").exists());
    }

    #[test]
    fn an_interrupted_first_start_begins_again_from_nothing() {
        let (root, data) = directory(&["tandem-first-start/half", "lost+found/x"]);
        let folder = data.begin().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(root.path().join("lost+found/x").exists());
    }

    #[test]
    fn a_commit_moves_everything_up() {
        let (root, data) = directory(&["lost+found/x"]);
        let folder = data.begin().unwrap();
        fs::write(folder.join("mysql.ibd"), "a").unwrap();
        fs::create_dir(folder.join("employees")).unwrap();
        data.commit().unwrap();
        assert_eq!(data.content().unwrap(), Content::Database);
        assert!(root.path().join("employees").is_dir() && root.path().join("mysql.ibd").is_file());
        assert!(!folder.exists());
    }

    #[test]
    fn a_move_that_was_interrupted_goes_on() {
        let (root, data) = directory(&["ibdata1", "tandem-first-start/.complete", "tandem-first-start/mysql.ibd"]);
        data.finish().unwrap();
        assert!(root.path().join("mysql.ibd").is_file() && !root.path().join(FIRST_START).exists());
        data.finish().unwrap();
    }

    #[test]
    fn the_version_is_read_from_either_place() {
        let (root, data) = directory(&["mysql.ibd"]);
        assert_eq!(data.version(), None);
        fs::write(root.path().join("mysql.ibd"), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x3A, 0x13]).unwrap();
        assert_eq!(data.version(), Some((8, 4, 3)));
        let history = r#"{"upgrade_history": [{"version": "8.4.3"}, {"version": "9.7.4"}]}"#;
        fs::write(root.path().join("mysql_upgrade_history"), history).unwrap();
        assert_eq!(data.version(), Some((9, 7, 4)));
    }

    #[rstest]
    #[case("9.7.4-2", Some((9, 7, 4)))]
    #[case("8.4.7-0ubuntu0.26.04.1", Some((8, 4, 7)))]
    #[case("9.7", None)]
    #[case("", None)]
    fn versions_are_read_up_to_their_suffix(#[case] text: &str, #[case] version: Option<Version>) {
        assert_eq!(parse_version(text), version);
    }
}
