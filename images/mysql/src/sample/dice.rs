//! Reproducible chance: the same numbers for a seed on every machine and for ever.
//!
//! ChaCha is a published algorithm with test vectors, so its stream cannot change with a release of the crate; how a
//! number becomes a choice is written here, because general libraries do change that. Each employee has a stream of
//! their own: a life does not depend on how many other lives were drawn before.

use std::ops::RangeInclusive;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice for one of a seed's independent streams.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A number below the limit. (The bias, at most the limit in 2³², does not matter here.)
    pub(super) fn below(&mut self, limit: u16) -> u16 {
        let product = u64::from(self.0.next_u32()) * u64::from(limit);
        u16::try_from(product >> 32).unwrap_or_default()
    }

    pub(super) fn within(&mut self, range: RangeInclusive<u16>) -> u16 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True in so many of 1000 cases.
    pub(super) fn chance(&mut self, permille: u16) -> bool {
        self.below(1000) < permille
    }

    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::from(self.below(u16::try_from(choices.len()).unwrap_or(u16::MAX)))]
    }

    /// One of the choices, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, choices: &[(T, u16)]) -> T {
        let mut rest = self.below(choices.iter().map(|(_, weight)| weight).sum());
        let mut last = choices[0].0;
        for (choice, weight) in choices {
            last = *choice;
            if rest < *weight {
                break;
            }
            rest -= weight;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut dice = Dice::new(1, 10_001);
        assert_eq!([(); 8].map(|()| dice.below(1000)), [840, 734, 62, 342, 531, 62, 798, 206]);
    }

    #[test]
    fn another_seed_or_stream_gives_other_numbers() {
        let rolls = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            [(); 4].map(|()| dice.below(u16::MAX))
        };
        assert_ne!(rolls(1, 1), rolls(2, 1));
        assert_ne!(rolls(1, 1), rolls(1, 2));
        assert_ne!(rolls(1, 1), rolls(1, 1 << 32));
        assert_ne!(rolls(1, 1), rolls(1 | 1 << 63, 1));
    }

    #[test]
    fn every_number_of_a_range_comes_up_and_no_other() {
        let mut dice = Dice::new(1, 1);
        let mut seen = [0; 6];
        for _ in 0..6000 {
            seen[usize::from(dice.within(1..=6)) - 1] += 1;
        }
        assert!(seen.iter().all(|times| (850..1150).contains(times)), "{seen:?}");
    }

    #[test]
    fn a_choice_comes_up_as_often_as_its_weight_says() {
        let mut dice = Dice::new(1, 1);
        let heavy = (0..4000).filter(|_| dice.weighted(&[("light", 1), ("none", 0), ("heavy", 3)]) == "heavy").count();
        assert!((2900..3100).contains(&heavy), "{heavy}");
    }
}
