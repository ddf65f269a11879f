//! What can go wrong before mysqld takes over. Each error displays as one line.

use std::io;
use std::path::{Path, PathBuf};

use crate::datadir::Version;

/// Why a container stops instead of serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable is wrong.
    #[error(transparent)]
    Environment(#[from] tandem_environment::Error),
    /// mysqld does not accept the configuration; the text names the variable or the folder.
    #[error("{0}")]
    Configuration(String),
    /// A command-line option that the image sets itself.
    #[error("{0} is an option that the image sets itself: leave it out (data belongs below /var/lib/mysql)")]
    OwnOption(String),
    /// The data directory cannot be written to.
    #[error(
        "{path} is not writable for uid {uid} ({source}): give all of the volume to that user, or to group 0 with mode \
         g+rwX; as root the container does the first by itself"
    )]
    Unwritable {
        /// The data directory.
        path: PathBuf,
        /// Who tried.
        uid: u32,
        /// Why.
        source: io::Error,
    },
    /// Another container is about to start on the same data directory.
    #[error("{} is in use by another container: give each its own volume", .0.display())]
    InUse(PathBuf),
    /// The data directory holds files, but no database.
    #[error(
        "{path} holds {example}, which is no MySQL data: mount an empty volume or one with a MySQL 8.0 or later database"
    )]
    Foreign {
        /// The data directory.
        path: PathBuf,
        /// One of the files.
        example: String,
    },
    /// The data directory is from a newer server.
    #[error("{} was written by MySQL {}, newer than this image's {}: use an image with that version or later (nothing was changed)", .path.display(), dotted(.data), dotted(.server))]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version that wrote it.
        data: Version,
        /// This image's version.
        server: Version,
    },
    /// Root without the right to become another user.
    #[error("running as root without the capabilities to become mysql ({0}): start the container with --user mysql")]
    Privileges(io::Error),
    /// A program ended with a failure.
    #[error("{program} failed: {how}")]
    Program {
        /// Which.
        program: String,
        /// Exit status or its own words.
        how: String,
    },
    /// A file of the init folder failed.
    #[error("{} failed: {how}", .path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// Exit status or the cause.
        how: String,
    },
    /// A statement failed.
    #[error("{doing}: {source}")]
    Sql {
        /// What it was for.
        doing: String,
        /// The server's words.
        source: sqlx::Error,
    },
    /// A data set's files are damaged.
    #[error("the data set in {}: {source}", .folder.display())]
    Dataset {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        source: crate::dataset::Error,
    },
    /// A table is not what the data set's manifest says.
    #[error("the data check failed: {0}")]
    Check(crate::dataset::Mismatch),
    /// Which one should it be?
    #[error(
        "{} and {} are both data sets, and a database holds one: leave one in /docker-entrypoint-initdb.d",
        .first.display(), .second.display()
    )]
    TwoDatasets {
        /// A data set's folder.
        first: PathBuf,
        /// Another one's.
        second: PathBuf,
    },
    /// There is nothing to check.
    #[error("database {0} holds no data set of this image: there is nothing to check it against")]
    NoDataset(String),
    /// The container was told to stop during its first start.
    #[error("stopped by {0} during the first start, which begins again at the next one")]
    Stopped(&'static str),
    /// The server has not been started yet.
    #[error("not ready: the first start is not over")]
    NotYet,
    /// The server takes too long to answer.
    #[error("not healthy: no answer within {} s", .0.as_secs())]
    Slow(std::time::Duration),
    /// A file operation failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// An error about `path`.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// For `map_err` after a statement.
    pub fn sql(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Sql { doing, source }
    }
}

fn dotted((major, minor, patch): &Version) -> String {
    format!("{major}.{minor}.{patch}")
}
