//! When something happened last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A point in time that is moved on without a lock, to the millisecond.
pub(super) struct Moment {
    epoch: Instant,
    /// Milliseconds since `epoch`.
    last: AtomicU64,
}

impl Moment {
    /// Nothing has happened: the last time is now.
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), last: AtomicU64::new(0) }
    }

    /// It happens now. Rounded up: what was before is before.
    pub(super) fn note(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).map_or(u64::MAX, |now| now.saturating_add(1));
        self.last.store(now, Ordering::Relaxed);
    }

    /// When it happened; the beginning where it never did.
    pub(super) fn last(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}
