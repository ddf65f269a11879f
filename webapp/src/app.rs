//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{self, Cache, Catalog};
use crate::cors::Origins;
use crate::db::{self, Database};
use crate::export::Exports;
use crate::metrics::Metrics;
use crate::traces::Tracer;
use crate::views::{Knowledge, Site};

/// The application's state: made once, by `serve`.
pub struct App {
    /// The database.
    pub db: Arc<Database>,
    /// What is kept of it.
    pub cache: Arc<Cache>,
    /// Files that are being written.
    pub exports: Exports,
    /// Counters and times.
    pub metrics: Metrics,
    /// This replica's name.
    pub served_by: String,
    /// What makes traces, if anything does.
    pub tracer: Option<Tracer>,
    /// Whether each request is a log line.
    pub access_log: bool,
    /// Whether `/readyz` waits for the migrations even if none has been started yet.
    pub migrates: bool,
    /// Whose pages may read the API in a browser, beside our own.
    pub cors_origins: Option<Origins>,
}

impl App {
    /// An application on a database that need not answer yet.
    pub fn new(db: Database, served_by: String, migrates: bool) -> Self {
        let (db, cache) = (Arc::new(db), Arc::<Cache>::default());
        let metrics = Metrics::new(Arc::clone(&db), Arc::clone(&cache));
        let tracer = db.tracer().cloned();
        Self {
            db,
            cache,
            exports: Exports::default(),
            metrics,
            served_by,
            tracer,
            access_log: false,
            migrates,
            cors_origins: None,
        }
    }

    /// The kept facts about the data set, for a handler that asks the database for something else as well.
    ///
    /// # Errors
    /// See [`db::Error`].
    pub async fn catalog(&self) -> Result<Arc<Catalog>, db::Error> {
        self.cache.get(&self.db, catalog::RECHECK).await
    }

    /// The same for a handler that asks for nothing else: it must not answer as if a database that is away were there.
    ///
    /// # Errors
    /// See [`db::Error`].
    pub async fn live_catalog(&self) -> Result<Arc<Catalog>, db::Error> {
        self.cache.get(&self.db, Duration::ZERO).await
    }

    /// The footer of a page that was made from `catalog`.
    pub fn site(&self, catalog: Option<&Catalog>) -> Site {
        Site {
            served_by: self.served_by.clone(),
            database: self.db.address().to_owned(),
            dataset: match catalog {
                None => Knowledge::Unknown,
                Some(Catalog { dataset: None, .. }) => Knowledge::Undescribed,
                Some(Catalog { dataset: Some(dataset), .. }) => Knowledge::Described(dataset.clone()),
            },
        }
    }
}
