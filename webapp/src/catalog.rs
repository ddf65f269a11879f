//! What every page needs and no page may compute: the data set's description, its counts, departments and titles.
//!
//! Counting 2.8 million salaries takes a good part of a second, so it is done once and kept. Three ages matter:
//! - After [`RECHECK`] the data set's description is read again (one row), and at once by pages that ask the database
//!   for nothing else. Where it changed, another data set has been loaded, and everything is computed anew before the
//!   page is answered: a database that was replaced behind our back is noticed within seconds.
//! - After [`FRESH`] everything is computed anew in the background, and the page still gets the kept figures.
//! - After [`USABLE`] nobody has asked for long: the page waits for new figures.
//!
//! Nothing is kept for the time when the database is away: the recheck fails, and the page says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};

use crate::db::dataset::DataSet;
use crate::db::overview::{Counts, Headcount};
use crate::db::{self, Database};

/// The age at which the data set's description is read again.
pub const RECHECK: Duration = Duration::from_secs(2);
/// The age at which figures are computed again, in the background.
pub const FRESH: Duration = Duration::from_secs(60);
/// The age at which a page waits for new figures.
pub const USABLE: Duration = Duration::from_secs(600);

/// The kept facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The description that the data set carries, if it carries one.
    pub dataset: Option<DataSet>,
    /// How many rows there are.
    pub counts: Counts,
    /// The departments, with their headcounts.
    pub departments: Vec<Headcount>,
    /// The titles that exist.
    pub titles: Vec<String>,
    /// When this was counted.
    pub counted_at: DateTime<Utc>,
}

struct Entry {
    catalog: Arc<Catalog>,
    computed: Instant,
    checked: Instant,
}

impl Entry {
    /// Whether it is what somebody waits for who has found the cache empty, or what it held replaced by this data set:
    /// then what was checked a moment ago may still be of the old one.
    fn answers(&self, replaced_by: Option<&Option<DataSet>>) -> bool {
        self.checked.elapsed() < RECHECK && replaced_by.is_none_or(|dataset| *dataset == self.catalog.dataset)
    }
}

/// Keeps the [`Catalog`].
#[derive(Default)]
pub struct Cache {
    entry: Mutex<Option<Entry>>,
    /// Held while somebody computes, so that a hundred requests on a cold cache count once.
    flight: tokio::sync::Mutex<()>,
    /// How many computations failed: who waited for one that failed fails as well, instead of trying one after another.
    failures: AtomicU64,
}

impl Cache {
    /// The facts, from memory where that is good enough. `trust` is the age up to which the database is not even asked
    /// whether it still holds the same data set: [`RECHECK`], or nothing where nothing else shows that it answers.
    ///
    /// # Errors
    /// See [`db::Error`].
    pub async fn get(self: &Arc<Self>, db: &Arc<Database>, trust: Duration) -> Result<Arc<Catalog>, db::Error> {
        if let Some(catalog) = self.kept(|entry| entry.checked.elapsed() < trust) {
            return Ok(catalog);
        }
        let mut replaced_by = None;
        if let Some(catalog) = self.kept(|entry| entry.computed.elapsed() < USABLE) {
            let dataset = db::dataset::describe(db).await?;
            if dataset == catalog.dataset {
                if self.kept(|entry| entry.computed.elapsed() < FRESH).is_none() {
                    self.refresh(db);
                }
                self.checked();
                return Ok(catalog);
            }
            replaced_by = Some(dataset);
        }
        let failures = self.failures.load(Ordering::Relaxed);
        let _flight = self.flight.lock().await;
        if let Some(catalog) = self.kept(|entry| entry.answers(replaced_by.as_ref())) {
            return Ok(catalog);
        }
        if self.failures.load(Ordering::Relaxed) != failures {
            return Err(db::Error::Unavailable("the data set could not be read".to_owned()));
        }
        self.compute(db).await
    }

    /// The facts as they were last known, for pages that have to do without the database.
    pub fn last_known(&self) -> Option<Arc<Catalog>> {
        self.kept(|_| true)
    }

    fn kept(&self, good: impl Fn(&Entry) -> bool) -> Option<Arc<Catalog>> {
        let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.as_ref().filter(|entry| good(entry)).map(|entry| Arc::clone(&entry.catalog))
    }

    fn checked(&self) {
        if let Some(entry) = self.entry.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            entry.checked = Instant::now();
        }
    }

    /// Computes in the background, unless somebody does already.
    fn refresh(self: &Arc<Self>, db: &Arc<Database>) {
        let (cache, db) = (Arc::clone(self), Arc::clone(db));
        tokio::spawn(async move {
            if let Ok(_flight) = cache.flight.try_lock()
                && let Err(error) = cache.compute(&db).await
            {
                tracing::warn!(%error, "the figures of the data set could not be counted again");
            }
        });
    }

    async fn compute(&self, db: &Database) -> Result<Arc<Catalog>, db::Error> {
        let computed = async {
            Ok(Catalog {
                dataset: db::dataset::describe(db).await?,
                counts: db::overview::counts(db).await?,
                departments: db::overview::headcounts(db).await?,
                titles: db::overview::titles(db).await?,
                counted_at: SystemTime::now().into(),
            })
        };
        let catalog = match computed.await {
            Ok(catalog) => Arc::new(catalog),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        };
        let now = Instant::now();
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Entry { catalog: Arc::clone(&catalog), computed: now, checked: now });
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn named(name: &str) -> DataSet {
        let (description, loaded_at) = (name.to_owned(), DateTime::default());
        DataSet { name: name.to_owned(), description, source: None, licence: None, employees: 1, loaded_at }
    }

    #[rstest]
    #[case("nothing was there", None, Duration::ZERO, true)]
    #[case("nothing was there, and this is old", None, RECHECK, false)]
    #[case("the one that was looked for", Some(Some(named("new"))), Duration::ZERO, true)]
    #[case("another one, checked just before", Some(Some(named("newer"))), Duration::ZERO, false)]
    #[case("one with a description", Some(None), Duration::ZERO, false)]
    fn a_data_set_that_was_replaced_is_nobodys_answer(
        #[case] _name: &str,
        #[case] replaced_by: Option<Option<DataSet>>,
        #[case] age: Duration,
        #[case] good: bool,
    ) {
        let catalog = Catalog {
            dataset: Some(named("new")),
            counts: Counts::default(),
            departments: vec![],
            titles: vec![],
            counted_at: DateTime::default(),
        };
        let checked = Instant::now().checked_sub(age).unwrap();
        let entry = Entry { catalog: Arc::new(catalog), computed: checked, checked };
        assert_eq!(entry.answers(replaced_by.as_ref()), good);
    }
}
