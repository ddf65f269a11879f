//! How long to wait before a failed reconcile is tried again, and a watch that broke is opened again.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use backon::ExponentialBuilder;
use kube::runtime::watcher::ExponentialBackoff;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// 1 s after the first failure, twice as long after each further one, 5 min at most; up to a quarter more, different
/// for each stack and each failure, so that many stacks that fail for one reason do not come back all at once.
pub fn pause(failures: u32, stack: &str) -> Duration {
    let doubled = FIRST.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let pause = doubled.min(LONGEST);
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((stack, failures));
    pause + pause * u32::try_from(hash % 256).unwrap_or_default() / 1024
}

/// For a watch that broke: 0.5 s, twice as long after each further failure, 4 s at most; up to twice that by chance, so
/// that not all watches come back at once. kube's own pauses grow to 60 s: after a restart of the API server the
/// operator would be blind for longer than the restart took. The handful of watches that one operator holds is no
/// burden even to an API server that is just starting.
pub fn watches() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(500)).with_factor(2.0);
    pauses.with_max_delay(Duration::from_secs(4)).with_jitter().without_max_times().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::utils::Backoff;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_five_minutes_and_a_quarter(failures in 1..200u32, stack in "[a-z]{1,9}") {
            let pause = pause(failures, &stack);
            let least = Duration::from_secs(2u64.saturating_pow(failures - 1)).min(LONGEST);
            prop_assert!(pause >= least && pause <= least + least / 4, "{pause:?}");
        }
    }

    #[test]
    fn a_broken_watch_is_opened_again_within_eight_seconds_however_long_it_was_broken() {
        let mut pauses = watches();
        let within =
            |pause: Option<Duration>, longest| pause.is_some_and(|pause| pause <= Duration::from_secs(longest));
        assert!(within(pauses.next(), 1));
        assert!(pauses.by_ref().take(1000).all(|pause| within(Some(pause), 8)));
        pauses.reset();
        assert!(within(pauses.next(), 1));
    }
}
