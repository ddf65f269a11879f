//! How long to wait before a failed reconcile is tried again.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// 1 s after the first failure, twice as long after each further one, 5 min at most; up to a quarter more, different for
/// each stack and each failure, so that many stacks that fail for one reason do not come back all at once.
pub fn pause(failures: u32, stack: &str) -> Duration {
    let doubled = FIRST.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let pause = doubled.min(LONGEST);
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((stack, failures));
    pause + pause * u32::try_from(hash % 256).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_five_minutes_and_a_quarter(failures in 1..200u32, stack in "[a-z]{1,9}") {
            let pause = pause(failures, &stack);
            let least = Duration::from_secs(2u64.saturating_pow(failures - 1)).min(LONGEST);
            prop_assert!(pause >= least && pause <= least + least / 4, "{pause:?}");
        }
    }
}
