//! From what was gathered to a verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::gtid::GtidSet;
use super::{Action, Condition, Group, Member, Ordinal, Pod, Route, Seen, State, Verdict, View, Word};

/// How the group stands, and what to do next. Pure: the same views give the same verdict.
pub fn classify(group: &Group) -> Verdict {
    let living = living(group);
    match living.as_slice() {
        [] => without_group(group),
        [one] if is_given_up(group, one) => waiting(Condition::GivenUp(one.primary), Route::Nobody),
        [one] => in_group(group, one),
        several => several_groups(group, several),
    }
}

/// Whether a group has the UUID of the one that worked last; `None` where nobody says, or knows.
fn is_the_last(group: &Group, living: &Living<'_>) -> Option<bool> {
    Some(group.uuid.as_ref()? == uuid(group, living)?)
}

/// A group's UUID, as one of its members says.
fn uuid<'a>(group: &'a Group, living: &Living<'_>) -> Option<&'a String> {
    group.views().find(|(_, view)| view.is_with(living.primary)).map(|(_, view)| &view.group)
}

/// Whether a group that works has been given up: another one was formed since, by a person who has not named one of this
/// one's members after that.
fn is_given_up(group: &Group, living: &Living<'_>) -> bool {
    let named = matches!(group.word, Some(Word::Survivor(member)) if living.has_online(member));
    is_the_last(group, living) == Some(false) && !named
}

/// Clients stay with the group that they are led to: the other one was made by hand, or has come back. Which of them counts, a
/// person has to say.
fn several_groups(group: &Group, several: &[Living<'_>]) -> Verdict {
    // With nobody who leads on, whoever has the most members was there first.
    let first = several.iter().max_by_key(|one| {
        let is_led = group.led.is_some_and(|led| one.has_online(led));
        (is_the_last(group, one) == Some(true), is_led, one.sees.len())
    });
    let uuid = first.and_then(|first| uuid(group, first));
    let others = || several.iter().filter(|one| first.is_none_or(|first| first.primary != one.primary));
    let is_apart = |view: &View| others().any(|other| view.is_with(other.primary)) && Some(&view.group) == uuid;
    Verdict {
        apart: group.views().filter(|(_, view)| is_apart(view)).map(|(member, _)| member).collect(),
        ..waiting(
            Condition::Split(several.iter().map(|one| one.primary).collect()),
            first.map_or(Route::Keep, |one| Route::To(one.primary)),
        )
    }
}

fn waiting(condition: Condition, route: Route) -> Verdict {
    Verdict {
        condition,
        route,
        readers: BTreeSet::new(),
        action: None,
        errant: BTreeMap::new(),
        apart: BTreeSet::new(),
    }
}

/// A group that works, as a majority of its members sees it.
struct Living<'a> {
    primary: Ordinal,
    sees: &'a [Seen],
}

impl Living<'_> {
    fn state(&self, member: Ordinal) -> Option<State> {
        self.sees.iter().find(|seen| seen.member == Some(member)).map(|seen| seen.state)
    }

    fn has_online(&self, member: Ordinal) -> bool {
        self.state(member) == Some(State::Online)
    }
}

impl Group {
    fn views(&self) -> impl Iterator<Item = (Ordinal, &View)> {
        self.members.iter().filter_map(|(&ordinal, member)| Some((ordinal, member.view.as_ref()?)))
    }

    fn view(&self, ordinal: Ordinal) -> Option<&View> {
        self.members.get(&ordinal)?.view.as_ref()
    }

    /// Whether a member can be told to do something that lasts.
    fn stays(&self, ordinal: Ordinal) -> bool {
        self.members.get(&ordinal).is_some_and(|member| member.pod == Pod::Present)
    }
}

/// Whether a member reaches the majority of those whom it sees in its group.
fn has_quorum(view: &View) -> bool {
    view.state == State::Online && view.sees.iter().filter(|seen| seen.state.votes()).count() * 2 > view.sees.len()
}

/// The groups that work: a primary on whom a majority of the group's members agree. One member alone may still believe in
/// what was true a moment ago.
fn living(group: &Group) -> Vec<Living<'_>> {
    let mut claims: BTreeMap<Ordinal, Vec<&View>> = BTreeMap::new();
    for (_, view) in group.views().filter(|(_, view)| has_quorum(view)) {
        if let Some(primary) = view.sees.iter().find(|seen| seen.primary).and_then(|seen| seen.member) {
            claims.entry(primary).or_default().push(view);
        }
    }
    let agreed = claims.into_iter().filter_map(|(primary, views)| {
        // Of those that agree, the one that sees most: a member that has just joined may not be seen by all.
        let widest = views.iter().max_by_key(|view| view.sees.len())?;
        (views.len() * 2 > widest.sees.len()).then_some(Living { primary, sees: &widest.sees })
    });
    agreed.collect()
}

/// There is a group: clients are led to it, and whoever is missing is brought back.
fn in_group(group: &Group, living: &Living<'_>) -> Verdict {
    // The group may still see somebody who says of himself that he has gone, or who is about to go.
    let gone = |member| group.view(member).is_some_and(|view| view.state != State::Online) || !group.stays(member);
    let missing: BTreeSet<_> = (0..group.wanted).filter(|&member| !living.has_online(member) || gone(member)).collect();
    let reads = |member: Ordinal| {
        let lags = group.view(member).is_some_and(|view| view.lags);
        living.has_online(member) && !lags && member != living.primary && group.stays(member)
    };
    let mut readers: BTreeSet<_> = group.members.keys().copied().filter(|&member| reads(member)).collect();
    if readers.is_empty() {
        readers.insert(living.primary);
    }
    let errant = group.view(living.primary).map(|primary| errant(group, living, &primary.gtids)).unwrap_or_default();
    Verdict {
        action: next(group, living, &missing, &errant),
        condition: if missing.is_empty() { Condition::Healthy } else { Condition::Degraded(missing) },
        route: Route::To(living.primary),
        readers,
        errant,
        apart: BTreeSet::new(),
    }
}

/// The members outside of the group that have transactions which the primary has not, or may have others of the same numbers.
fn errant(group: &Group, living: &Living<'_>, primary: &GtidSet) -> BTreeMap<Ordinal, GtidSet> {
    let outside = group.views().filter(|(member, view)| living.state(*member).is_none() && view.joined);
    let own = outside.map(|(member, view)| (member, view.gtids.minus(primary)));
    own.filter(|(member, own)| !own.is_empty() || group.apart.contains(member)).collect()
}

/// The next thing to do with a group that works.
fn next(
    group: &Group,
    living: &Living<'_>,
    missing: &BTreeSet<Ordinal>,
    errant: &BTreeMap<Ordinal, GtidSet>,
) -> Option<Action> {
    // Who joins is compared with the primary first, and who leaves is told so: both have to be asked.
    group.view(living.primary)?;
    if living.sees.iter().any(|seen| seen.state == State::Recovering) {
        return None;
    }
    let joins = |member: Ordinal| {
        let outside = group.view(member).is_some_and(|view| !view.state.votes());
        outside && living.state(member).is_none() && group.stays(member)
    };
    // Whom a person has named: one that could join by itself gets nowhere, where its rows differ from the group's.
    if let Some(Word::Reclone(member)) = group.word
        && joins(member)
        && group.view(member).is_some_and(|view| view.joined)
    {
        return Some(Action::Reclone(member));
    }
    // Who only has to join comes first: filling a member anew may fail for long, where its volume is too small.
    let (own, plain): (Vec<_>, Vec<_>) =
        (0..group.wanted).filter(|&member| joins(member)).partition(|member| errant.contains_key(member));
    if let Some(&member) = plain.first() {
        return Some(Action::Join(member));
    }
    // A primary that is far behind what the group has agreed upon may only seem to lack a transaction.
    let unasked = group.reclone_errant && group.view(living.primary).is_some_and(|primary| !primary.lags);
    if let Some(&member) = own.first().filter(|_| unasked) {
        return Some(Action::Reclone(member));
    }
    // Everything from here on takes a member away, or moves the primary: never while one is missing, or may be. One that
    // is not wanted any more still has its vote until the group has given it up: without another one, that may be half.
    let silent = (0..group.wanted).any(|member| group.view(member).is_none());
    if !missing.is_empty() || silent || living.sees.iter().any(|seen| seen.state != State::Online) {
        return None;
    }
    shrink(group, living).or_else(|| restart(group, living)).or_else(|| prefer(group, living))
}

/// A person's choice of the primary comes last: what has to be restarted would be moved away again.
fn prefer(group: &Group, living: &Living<'_>) -> Option<Action> {
    let Some(Word::Primary(member)) = group.word else { return None };
    let can = member != living.primary && member < group.wanted && group.stays(member);
    can.then_some(Action::MakePrimary(member))
}

/// Who becomes the primary in another one's place: the first one whose volume has room, where there is one.
fn heir(group: &Group, not: Ordinal) -> Option<Ordinal> {
    let heirs = (0..group.wanted).filter(|&member| member != not && group.stays(member));
    heirs.min_by_key(|member| group.members.get(member).is_some_and(|member| member.full))
}

/// The last member leaves, where there are more than wanted.
fn shrink(group: &Group, living: &Living<'_>) -> Option<Action> {
    let (&last, member) = group.members.last_key_value().filter(|(last, _)| **last >= group.wanted)?;
    Some(match member.pod {
        Pod::Missing | Pod::Terminating => return None,
        Pod::Present if living.primary >= group.wanted => Action::MakePrimary(heir(group, living.primary)?),
        Pod::Present if living.state(last).is_some() => Action::Leave(last),
        Pod::Present => Action::Remove(last),
    })
}

/// One Pod is replaced: the primary's last, after another member has taken over.
fn restart(group: &Group, living: &Living<'_>) -> Option<Action> {
    let outdated = || group.outdated.iter().copied().filter(|&member| member < group.wanted && group.stays(member));
    let secondary = outdated().rfind(|&member| member != living.primary);
    secondary.map(Action::Restart).or_else(|| {
        let primary = outdated().find(|&member| member == living.primary)?;
        Some(Action::MakePrimary(heir(group, primary)?))
    })
}

/// There is no group that is known to work.
fn without_group(group: &Group) -> Verdict {
    let mut inside = group.views().filter(|(_, view)| view.state.votes()).peekable();
    if inside.peek().is_some() {
        return if inside.any(|(_, view)| has_quorum(view) || view.state == State::Recovering) {
            waiting(Condition::Unclear, Route::Keep)
        } else {
            Verdict { action: survivor(group), ..waiting(Condition::NoQuorum, Route::Nobody) }
        };
    }
    // A member that cannot be asked may be in a group that works.
    let answers = |member: &Member| member.pod == Pod::Present && member.view.is_some();
    let beyond =
        group.members.iter().filter(|(ordinal, member)| **ordinal >= group.wanted && member.pod != Pod::Missing);
    let expected = (0..group.wanted).chain(beyond.map(|(&ordinal, _)| ordinal));
    let silent: BTreeSet<_> = expected.filter(|ordinal| !group.members.get(ordinal).is_some_and(answers)).collect();
    if !silent.is_empty() {
        let asked = group.views().next().is_some();
        let route = if asked && survivor(group).is_some() { Route::Nobody } else { Route::Keep };
        return Verdict { action: survivor(group), ..waiting(Condition::Outage(silent), route) };
    }
    formation(group)
}

/// What a person has decided, where the member can be told. One that has lost its data is not taken where another has some,
/// or may have.
fn survivor(group: &Group) -> Option<Action> {
    let Some(Word::Survivor(member)) = group.word else { return None };
    let view = group.view(member).filter(|_| group.stays(member))?;
    let has_none = |member: Ordinal| group.view(member).is_some_and(|view| !view.joined);
    let nobody_has = || (0..group.wanted).chain(group.known.iter().copied()).all(has_none);
    (view.joined || nobody_has()).then_some(Action::Reform(member))
}

/// Everybody answers, and nobody is in a group: it is formed, by the member that has everything.
fn formation(group: &Group) -> Verdict {
    // What somebody has who was in another group says nothing of this one's.
    let counts = |(member, view): &(Ordinal, &View)| view.joined && !group.apart.contains(member);
    let joined: BTreeMap<_, _> = group.views().filter(counts).collect();
    if joined.is_empty() && group.known.is_empty() {
        // What the others hold came with their images, and is the same as the first one's.
        return Verdict { action: Some(Action::Bootstrap(0)), ..waiting(Condition::New, Route::Nobody) };
    }
    let decided = |undecided: Condition| match survivor(group) {
        Some(action) => Verdict { action: Some(action), ..waiting(Condition::Outage(BTreeSet::new()), Route::Nobody) },
        None => waiting(undecided, Route::Nobody),
    };
    // Every acknowledged transaction is on a majority of the members that there were: with fewer lost, somebody has it.
    let lost: BTreeSet<_> = group.known.iter().copied().filter(|member| !joined.contains_key(member)).collect();
    if lost.len() * 2 > group.known.len() {
        return decided(Condition::Lost(lost));
    }
    let all = joined.values().fold(GtidSet::default(), |all, view| all.plus(&view.gtids));
    let lacks: BTreeMap<_, _> = joined.iter().map(|(&member, view)| (member, all.minus(&view.gtids))).collect();
    match lacks.iter().find(|(_, lacks)| lacks.is_empty()) {
        Some((&member, _)) => Verdict {
            action: Some(Action::Bootstrap(member)),
            ..waiting(Condition::Outage(BTreeSet::new()), Route::Nobody)
        },
        None => decided(Condition::Diverged(lacks)),
    }
}
