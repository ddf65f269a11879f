//! Sets of global transaction identifiers, read and written as MySQL does: `UUID:1-5:7`, `UUID:tag:1-3`, separated by
//! commas. With them the members of a group are compared: by what they hold, never by how much, since the group gives
//! each member numbers of its own in blocks of a million.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where transactions come from: a server or a group by its UUID, and a tag, which is empty where there is none.
type Source = (String, String);

/// Numbers from the first to the second, both included.
type Interval = (u64, u64);

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// For each source its intervals: in order, and none touches the next.
    sources: BTreeMap<Source, Vec<Interval>>,
}

/// Why a text is no set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no set of transactions")]
pub struct Invalid(String);

impl GtidSet {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many transactions there are.
    pub fn count(&self) -> u64 {
        self.sources.values().flatten().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether any transaction is from a server or group whose UUID, in lower case, is such a one.
    pub fn has_any_from(&self, is_such: impl Fn(&str) -> bool) -> bool {
        self.sources.keys().any(|(uuid, _)| is_such(uuid))
    }

    /// The transactions of that server or group, whose UUID is in lower case.
    #[must_use]
    pub fn of(&self, uuid: &str) -> Self {
        let of_uuid = self.sources.iter().filter(|((source, _), _)| source == uuid);
        Self { sources: of_uuid.map(|(source, intervals)| (source.clone(), intervals.clone())).collect() }
    }

    /// Whether everything that is in `other` is in this one.
    pub fn contains(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let sources = self.sources.iter().filter_map(|(source, intervals)| {
            let without = other.sources.get(source).map_or(&[][..], Vec::as_slice);
            let rest: Vec<_> = intervals.iter().flat_map(|&interval| cut(interval, without)).collect();
            (!rest.is_empty()).then(|| (source.clone(), rest))
        });
        Self { sources: sources.collect() }
    }

    /// What is in one of the two.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (source, intervals) in &other.sources {
            for &interval in intervals {
                self.insert(source.clone(), interval);
            }
        }
        self
    }

    fn insert(&mut self, source: Source, interval: Interval) {
        let intervals = self.sources.entry(source).or_default();
        intervals.push(interval);
        intervals.sort_unstable();
        let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
        for &(first, last) in &*intervals {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        *intervals = joined;
    }
}

/// What is left of an interval without others, which are in order.
fn cut((first, last): Interval, without: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut rest = first;
    for &(from, to) in without {
        if to < rest {
            continue;
        }
        if from > last {
            break;
        }
        if from > rest {
            left.push((rest, from - 1));
        }
        if to >= last {
            return left;
        }
        rest = to + 1;
    }
    left.push((rest, last));
    left
}

impl FromStr for GtidSet {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid(text.chars().take(80).collect());
        let mut set = Self::default();
        // MySQL breaks lines behind its commas.
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut words = part.split(':').map(str::trim);
            let uuid = words.next().filter(|uuid| is_uuid(uuid)).ok_or_else(invalid)?.to_ascii_lowercase();
            let (mut tag, mut complete) = (String::new(), false);
            for word in words {
                if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    (tag, complete) = (word.to_ascii_lowercase(), false);
                } else {
                    set.insert((uuid.clone(), tag.clone()), interval(word).ok_or_else(invalid)?);
                    complete = true;
                }
            }
            if !complete {
                return Err(invalid());
            }
        }
        Ok(set)
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn interval(text: &str) -> Option<Interval> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    // The largest number that MySQL gives.
    (first >= 1 && first <= last && last < i64::MAX as u64).then_some((first, last))
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ((uuid, tag), intervals)) in self.sources.iter().enumerate() {
            f.write_str(if position > 0 { "," } else { "" })?;
            f.write_str(uuid)?;
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for (first, last) in intervals {
                if first == last { write!(f, ":{first}") } else { write!(f, ":{first}-{last}") }?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeSet;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.replace('A', A).replace('B', B).parse().unwrap()
    }

    #[rstest]
    #[case("", "")]
    #[case("A:1-5", "A:1-5")]
    #[case("A:5:1-3:4", "A:1-5")]
    #[case("B:1,\nA:1-3", "A:1-3,B:1")]
    #[case("A:1-3:backup:2:7-9", "A:1-3,A:backup:2:7-9")]
    #[case("A:dumP:2,A:dump:3", "A:dump:2-3")]
    fn sets_are_read_and_written_as_mysql_does(#[case] text: &str, #[case] normal: &str) {
        assert_eq!(set(text).to_string(), normal.replace('A', A).replace('B', B));
    }

    #[rstest]
    #[case("x")]
    #[case("A")]
    #[case("A:0-3")]
    #[case("A:5-3")]
    #[case("A:1-2-3")]
    #[case("A:tag")]
    #[case("A:1:tag")]
    #[case("A:9223372036854775807")]
    fn what_is_no_set_is_refused(#[case] text: &str) {
        assert!(text.replace('A', A).parse::<GtidSet>().is_err());
    }

    #[test]
    fn more_transactions_are_not_all_transactions() {
        let (more, fewer) = (set("A:1-1000"), set("A:1-10,B:1"));
        assert!(!more.contains(&fewer) && !fewer.contains(&more));
        assert_eq!(fewer.minus(&more), set("B:1"));
    }

    /// The same by counting on one's fingers.
    type Fingers = BTreeSet<(bool, u64)>;

    fn sets() -> impl Strategy<Value = (GtidSet, Fingers)> {
        prop::collection::vec((any::<bool>(), 1..40_u64, 0..6_u64), 0..8).prop_map(|parts| {
            let (mut set, mut fingers) = (GtidSet::default(), Fingers::new());
            for (other, first, length) in parts {
                let uuid = if other { B } else { A };
                set = set.plus(&format!("{uuid}:{first}-{}", first + length).parse().unwrap());
                fingers.extend((first..=first + length).map(|number| (other, number)));
            }
            (set, fingers)
        })
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets((one, one_fingers) in sets(), (other, other_fingers) in sets()) {
            prop_assert_eq!(one.count(), one_fingers.len() as u64);
            prop_assert_eq!(one.minus(&other).count(), one_fingers.difference(&other_fingers).count() as u64);
            prop_assert_eq!(one.clone().plus(&other).count(), one_fingers.union(&other_fingers).count() as u64);
            prop_assert_eq!(one.contains(&other), one_fingers.is_superset(&other_fingers));
            prop_assert_eq!(one.to_string().parse::<GtidSet>(), Ok(one.clone()));
            prop_assert_eq!(one.minus(&other).plus(&one), one);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<GtidSet>();
        }
    }
}
