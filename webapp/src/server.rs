//! The server's life: bind, serve until told to stop, let requests in flight finish, leave nothing behind.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::app::App;
use crate::config::{Config, DatabaseConfig, Listen};
use crate::db::Database;
use crate::export::Exports;
use crate::migrations::Recompute;
use crate::traces::{self, Traces};
use crate::vital::vital;
use crate::{migrations, router};

/// How long a replica waits for another one that migrates, before it looks again whether that is still necessary.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two attempts to reach a database that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after migrations that failed although the database answers, on a full disk for one: each attempt
/// does most of the work again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long closing the pool may take: its connections belong to nobody any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("{variable} is {address}: {source}")]
    Bind {
        /// The variable that named it.
        variable: &'static str,
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The process cannot be told to stop.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// Traces are asked for and cannot be made.
    #[error(transparent)]
    Traces(#[from] traces::Error),
}

/// Serves until SIGTERM or SIGINT. The database need not be there, neither now nor later.
///
/// # Errors
/// Only what prevents the start; see [`Error`].
pub async fn serve(config: Config) -> Result<(), Error> {
    let stop = stop_signal().map_err(Error::Signals)?;
    let pages = bind("LISTEN", &config.listen).await?;
    let monitoring = match &config.metrics_listen {
        Some(address) => Some(bind("METRICS_LISTEN", address).await?),
        None => None,
    };

    let traces = config.traces.as_ref().map(|traces| Traces::start(traces, &config.served_by)).transpose()?;
    let db = Database::new(&config.database).traced(traces.as_ref().map(Traces::tracer));
    let waits = config.migrate_on_start || config.wait_for_migrations;
    let mut app = App::new(db, config.served_by, waits);
    app.exports = Exports::new(config.exports_at_once, config.export_timeout);
    app.access_log = config.access_log;
    app.cors_origins = config.cors_origins;
    let app = Arc::new(app);
    tokio::spawn(vital(prepare(Arc::clone(&app), config.migrate_on_start.then_some(config.database))));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = pages.address,
        metrics_listen = monitoring.as_ref().map(|bound| bound.address.as_str()),
        database = app.db.address(),
        served_by = app.served_by,
        "serving"
    );
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(vital(run(pages.listener, router::pages(Arc::clone(&app), config.metrics_public), stop.clone())));
    let mut sockets = vec![pages.socket];
    if let Some(bound) = monitoring {
        servers.spawn(vital(run(bound.listener, router::monitoring(Arc::clone(&app)), stop.clone())));
        sockets.push(bound.socket);
    }

    told(stop).await;
    tracing::info!("stopping: requests in flight may finish");
    let all = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(config.shutdown_timeout, all).await.is_err() {
        tracing::warn!(seconds = config.shutdown_timeout.as_secs(), "requests in flight were cut off");
        servers.abort_all();
    }
    // A query that still hangs is given up with the process.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, app.db.close()).await;
    if let Some(traces) = traces {
        traces.finish();
    }
    drop(sockets);
    tracing::info!("stopped");
    Ok(())
}

/// What is done once, as soon as the database answers: the migrations, where asked for; and the first count of the data
/// set, so that no visitor has to wait for it.
async fn prepare(app: Arc<App>, migrate: Option<DatabaseConfig>) {
    if let Some(config) = migrate {
        let mut last = String::new();
        let mut pause = PAUSE;
        loop {
            match migrations::run(&config, MIGRATION_PATIENCE, Recompute::Outdated).await {
                Ok(steps) => {
                    let created = steps.iter().filter(|step| {
                        matches!(step.outcome, migrations::Outcome::Created(_) | migrations::Outcome::Recomputed(_))
                    });
                    tracing::info!(known = steps.len(), created = created.count(), "migrations are applied");
                    break;
                }
                Err(error) => {
                    // Said once, not twice a second, while the database is away.
                    let text = error.to_string();
                    if text != last {
                        tracing::warn!(error = text, "migrations have to wait");
                        last = text;
                    }
                    pause = pause_after(&error, pause);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
    while app.catalog().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!("the data set is known");
}

/// How long to wait after `error`, where the pause before was `last`: a database that comes back, or gets its tables,
/// is found at once, and one that cannot carry out a statement is left alone for longer and longer.
fn pause_after(error: &migrations::Error, last: Duration) -> Duration {
    match error {
        migrations::Error::Statement { .. } | migrations::Error::Analyze(_) => (last * 2).min(LONGEST_PAUSE),
        _ => PAUSE,
    }
}

/// A receiver that sees a change when SIGTERM or SIGINT arrives.
fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(vital(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Nobody listens any more only where the process ends anyway.
        let _ = sender.send(true);
    }));
    Ok(receiver)
}

async fn told(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: the runtime is being shut down.
    let _ = stop.wait_for(|&stopping| stopping).await;
}

async fn run(listener: Listener, router: Router, stop: watch::Receiver<bool>) {
    let ended = match listener {
        Listener::Tcp(listener) => {
            // Answers are written in one piece: nothing is gained by waiting for more.
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, router).with_graceful_shutdown(told(stop)).await
        }
        Listener::Unix(listener) => axum::serve(listener, router).with_graceful_shutdown(told(stop)).await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "a listener failed");
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

struct Bound {
    listener: Listener,
    address: String,
    socket: Option<SocketFile>,
}

/// The file of a unix socket, removed when dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Says whether the addresses can be listened on, and leaves them free. A unix socket's folder may be made later.
///
/// # Errors
/// One cannot.
pub async fn check(config: &Config) -> Result<(), Error> {
    let metrics = config.metrics_listen.iter().map(|address| ("METRICS_LISTEN", address));
    for (variable, address) in [("LISTEN", &config.listen)].into_iter().chain(metrics) {
        if matches!(address, Listen::Tcp(_)) {
            bind(variable, address).await?;
        }
    }
    Ok(())
}

async fn bind(variable: &'static str, address: &Listen) -> Result<Bound, Error> {
    match address {
        Listen::Tcp(name) => {
            let listener = TcpListener::bind(name).await;
            let listener = listener.map_err(|source| Error::Bind { variable, address: name.clone(), source })?;
            Ok(Bound { listener: Listener::Tcp(listener), address: name.clone(), socket: None })
        }
        Listen::Unix(path) => {
            let address = format!("unix:{}", path.display());
            let listener = bind_unix(path).await;
            let listener = listener.map_err(|source| Error::Bind { variable, address: address.clone(), source })?;
            Ok(Bound { listener: Listener::Unix(listener), address, socket: Some(SocketFile(path.clone())) })
        }
    }
}

/// Binds a unix socket for its owner and group, in the place of one that a killed process left behind. A file that is
/// no socket, or a socket on which somebody answers, stays.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is in its place"));
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_fail_are_tried_less_and_less_often() {
        let full = migrations::Error::Statement { version: 1, source: sqlx::Error::WorkerCrashed };
        let pauses: Vec<_> =
            std::iter::successors(Some(PAUSE), |&last| Some(pause_after(&full, last))).take(9).collect();
        assert!(pauses.is_sorted() && pauses[1] == PAUSE * 2 && pauses[8] == LONGEST_PAUSE, "{pauses:?}");
        assert_eq!(pause_after(&migrations::Error::NotLoaded("titles"), LONGEST_PAUSE), PAUSE);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let live = bind_unix(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind_unix(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(path.exists());
        bind_unix(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(bind_unix(file.path()).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(file.path().exists());
    }

    #[tokio::test]
    async fn a_bad_address_is_an_error_that_names_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/such/folder.sock");
        let error = bind("LISTEN", &Listen::Unix(path)).await.err().unwrap();
        assert!(error.to_string().starts_with("LISTEN is unix:/"));
    }
}
