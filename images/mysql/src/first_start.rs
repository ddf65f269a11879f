//! The first start on an empty volume: unpack a snapshot or initialise, load, run the init folder, check, make it
//! final.
//!
//! All of it happens in the data directory's own sub-folder (see [`crate::datadir`]); nothing that fails or is killed
//! here leaves anything that could be served.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::AssertSqlSafe;

use crate::Error;
use crate::accounts::{self, identifier, init_file};
use crate::datadir::DataDir;
use crate::dataset::Manifest;
use crate::sample;
use crate::scripts::{self, Action, Runner};
use crate::server::{self, Temporary};
use crate::settings::{DATASET_DATABASE, Dataset, RootPassword, Settings};
use crate::snapshot::{self, Snapshot};
use crate::{load, random, record, verify};

/// Where users put what the first start should run.
const INIT_FOLDER: &str = "/docker-entrypoint-initdb.d";

/// The data set that was built into the image.
const BUILT_IN: &str = "/usr/share/tandem/dataset";

/// MySQL's time zone tables as SQL, made when the image was built.
const TIME_ZONES: &str = "/usr/share/tandem/time_zones.sql";

/// What the sample of `MYSQL_DATASET=small` is generated from.
const SMALL: sample::Options = sample::Options { employees: 10_000, seed: 1 };

/// What a first start runs, in this order.
type Work = Vec<(PathBuf, Action)>;

/// Everything that a first start needs to know.
pub struct FirstStart<'a> {
    /// What the environment says.
    pub settings: &'a Settings,
    /// The data directory; it holds nothing yet.
    pub data: &'a DataDir,
    /// The server's option file.
    pub defaults: &'a Path,
    /// The texts of the user's own option files.
    pub option_files: &'a [String],
    /// Server options from the command line.
    pub arguments: &'a [String],
    /// An empty folder for sockets and pipes that only this user can enter.
    pub run: &'a Path,
}

impl FirstStart<'_> {
    /// Does all of it.
    ///
    /// # Errors
    /// The first step that fails. The next start begins again from nothing.
    pub async fn run(&self) -> Result<(), Error> {
        let began = Instant::now();
        let root = match accounts::root_password(self.settings, true) {
            Some(password) => password,
            None => random::password()?,
        };
        let (snapshot, work) = self.plan()?;
        let folder = self.data.begin()?;
        match snapshot {
            Some(file) => {
                tracing::info!("first start: unpacking {}", file.display());
                snapshot::restore(&file, &folder).await?;
            }
            None => {
                tracing::info!("first start: initialising the data directory");
                let sql = if self.settings.time_zones { time_zones()? } else { String::new() };
                server::initialize(self.defaults, &folder, sql, self.arguments).await?;
            }
        }
        // Everything that must not be served as it comes from a snapshot is made here: keys, identifier, passwords.
        let accounts = init_file(&accounts::statements(self.settings, Some(&root), &random::password()?));
        let server = Temporary::start(self.defaults, &folder, self.run, accounts, root.clone(), self.arguments).await?;
        self.fill(&server, &root, work).await?;
        server.shutdown(&accounts::first_start(self.settings)).await?;
        if self.settings.root_password == RootPassword::Random {
            // Once, and before the data directory is final: a kill in between makes a new one.
            println!("GENERATED ROOT PASSWORD: {root}");
        }
        self.data.commit()?;
        tracing::info!(seconds = began.elapsed().as_secs_f32(), "first start: done");
        Ok(())
    }

    /// The snapshot to begin with, where one suits, and what is left to do: the init folder's entries, and the built-in
    /// data set before them where it is wanted and not in the snapshot.
    fn plan(&self) -> Result<(Option<PathBuf>, Work), Error> {
        let mut work = scripts::plan(Path::new(INIT_FOLDER))?;
        for (path, _) in work.iter().filter(|(_, action)| *action == Action::Ignore) {
            tracing::warn!("{}: ignored, neither .sh nor .sql nor a data set", path.display());
        }
        work.retain(|(_, action)| *action != Action::Ignore);
        let variables = self.settings.options.iter().map(|(_, option, _)| option);
        let options = self.option_files.iter().chain(self.arguments).chain(variables);
        let suits = self.settings.time_zones && snapshot::suits(options.map(String::as_str));
        let begin_with = |snapshot: Snapshot| snapshot.built_in().filter(|_| suits);
        let mut datasets = work.iter().filter(|(_, action)| *action == Action::Dataset);
        let brought = datasets.next();
        if let (Some((first, _)), Some((second, _))) = (brought, datasets.next()) {
            return Err(Error::TwoDatasets { first: first.clone(), second: second.clone() });
        }
        match (self.settings.dataset, brought) {
            (Dataset::None, _) => {}
            (_, Some((path, _))) => tracing::info!("{} takes the place of the built-in data set", path.display()),
            (Dataset::Full, None) => {
                if self.settings.dataset_database() == DATASET_DATABASE
                    && let Some(full) = begin_with(Snapshot::Full)
                {
                    return Ok((Some(full), work));
                }
                work.insert(0, (BUILT_IN.into(), Action::Dataset));
            }
            (Dataset::Small, None) => work.insert(0, (self.run.join("small"), Action::Dataset)),
        }
        Ok((begin_with(Snapshot::Empty), work))
    }

    /// Makes both snapshots in `target`, when the image is built. What the build put into the init folder runs after
    /// the data set has been loaded: the application's indexes and summaries, so that no first start has to build them.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn make_snapshots(&self, target: &Path) -> Result<(), Error> {
        let folder = self.data.begin()?;
        server::initialize(self.defaults, &folder, time_zones()?, self.arguments).await?;
        // Packing takes away what the next start makes anew.
        snapshot::pack(&folder, &Snapshot::Empty.file(target)).await?;
        let server =
            Temporary::start(self.defaults, &folder, self.run, String::new(), String::new(), self.arguments).await?;
        let mut work = vec![(BUILT_IN.into(), Action::Dataset)];
        work.extend(scripts::plan(Path::new(INIT_FOLDER))?);
        self.fill(&server, "", work).await?;
        server.shutdown(&[]).await?;
        snapshot::pack(&folder, &Snapshot::Full.file(target)).await
    }

    async fn fill(&self, server: &Temporary, root: &str, work: Work) -> Result<(), Error> {
        let mut connection = server.connect().await?;
        let mut run = async |doing: &str, sql: String| {
            let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
            done.map_err(Error::sql(doing)).map(|_| ())
        };
        run("switching the redo log off", "ALTER INSTANCE DISABLE INNODB REDO_LOG".to_owned()).await?;
        let runner = Runner::new(self.settings, server.socket(), self.run, root)?;
        for (path, action) in &work {
            tracing::info!("first start: {}", path.display());
            if *action == Action::Dataset {
                let database = self.settings.dataset_database();
                run("creating the database", format!("CREATE DATABASE IF NOT EXISTS {}", identifier(database))).await?;
                self.dataset(server, &runner, path).await?;
            } else {
                runner.run(path, action).await?;
            }
        }
        if work.iter().any(|(_, action)| *action == Action::Dataset) {
            // The server counts rows in the background, for its choice of plans: it may have begun before the last row
            // was there, and is shut down before it counts again.
            let mut connection = server.connect().await?;
            let tables: Vec<String> = sqlx::query_scalar(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'",
            )
            .bind(self.settings.dataset_database())
            .fetch_all(&mut connection)
            .await
            .map_err(Error::sql("listing the tables"))?;
            let database = identifier(self.settings.dataset_database());
            let names = tables.iter().map(|table| format!("{database}.{}", identifier(table)));
            run("counting rows", format!("ANALYZE TABLE {}", names.collect::<Vec<_>>().join(", "))).await?;
        }
        run("switching the redo log on", "ALTER INSTANCE ENABLE INNODB REDO_LOG".to_owned()).await
    }

    /// Loads one data set, checks it, and writes down which one it is.
    async fn dataset(&self, server: &Temporary, runner: &Runner<'_>, folder: &Path) -> Result<(), Error> {
        let began = Instant::now();
        if !folder.exists() {
            let (folder, options) = (folder.to_owned(), SMALL);
            let written = tokio::task::spawn_blocking(move || sample::write(&folder, &options)).await;
            written
                .map_err(|e| e.to_string())
                .and_then(|made| made.map_err(|e| e.to_string()))
                .map_err(|how| Error::Program { program: "generating the sample".to_owned(), how })?;
        }
        let database = self.settings.dataset_database();
        let manifest: Manifest = load::load(server, runner, folder, database, self.run).await?;
        let loaded = began.elapsed().as_secs_f32();
        tracing::info!("first start: checking what was loaded");
        verify::all(vec![server.connect().await?, server.connect().await?], database, &manifest).await?;
        record::write(&mut server.connect().await?, database, &manifest).await?;
        tracing::info!(
            loaded_seconds = loaded,
            checked_seconds = began.elapsed().as_secs_f32() - loaded,
            "data set loaded and checked: {}",
            manifest.description
        );
        Ok(())
    }
}

/// The statements that fill the time zone tables.
fn time_zones() -> Result<String, Error> {
    let statements = std::fs::read_to_string(TIME_ZONES).map_err(|e| Error::io(TIME_ZONES, e))?;
    Ok(format!("USE mysql;\n{statements}"))
}
