//! From what was gathered to a verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::gtid::GtidSet;
use super::{Action, Condition, Group, Member, Ordinal, Pod, Route, Seen, State, Verdict, View, Word};

/// How often a member is let in or filled before others have their turn.
pub const ATTEMPTS: u32 = 3;

/// How the group stands, and what to do next. Pure: the same views give the same verdict.
pub fn classify(group: &Group) -> Verdict {
    let living = living(group);
    match living.as_slice() {
        [] => without_group(group),
        [one] if one.counts(group) || one.is_named(group) => in_group(group, one),
        [one] => {
            // It may be that the other one is only electing: who is led to it is not led away.
            let is_led = group.led.is_some_and(|led| one.has_online(led));
            waiting(group, Condition::GivenUp(one.primary), if is_led { Route::Nobody } else { Route::Keep })
        }
        several => several_groups(group, several),
    }
}

/// Clients stay with the group that they are led to: the other one was made by hand, or has come back. Where another
/// one counts, a person has to say.
fn several_groups(group: &Group, several: &[Living<'_>]) -> Verdict {
    let primaries = several.iter().map(|one| one.primary).collect();
    let verdict = |route| waiting(group, Condition::Split(primaries), route);
    // With nobody who leads on, whoever has the most members was there first.
    let is_led = |one: &Living<'_>| group.led.is_some_and(|led| one.has_online(led));
    let first = several.iter().max_by_key(|one| (one.is_named(group), one.counts(group), is_led(one), one.sees.len()));
    // Where none of them counts, there is one more, which is away.
    let first = first.filter(|one| one.counts(group) || one.is_named(group));
    let Some(first) = first else { return verdict(Route::Keep) };
    let others = || several.iter().filter(|one| one.primary != first.primary && one.uuid == first.uuid);
    // Who has just left the one for the other, and is still seen there, was not apart for long.
    let elsewhere = others().flat_map(|one| &one.witnesses).filter(|member| !first.has_online(**member));
    let is_taken_up = first.is_named(group) && !is_led(first) && others().next().is_some();
    let remembered = if is_taken_up { first.takes_up(group) } else { first.remembers(group) };
    let apart = remembered.into_iter().chain(elsewhere.copied()).collect();
    let (readers, known, joining) = (first.readers(group), first.has_all().collect(), first.recovering());
    Verdict { readers, known, joining, apart, ..verdict(Route::To(first.primary)) }
}

fn waiting(group: &Group, condition: Condition, route: Route) -> Verdict {
    Verdict {
        condition,
        route,
        readers: BTreeSet::new(),
        action: None,
        errant: BTreeMap::new(),
        known: group.known.clone(),
        joining: group.joining,
        apart: group.still_apart().collect(),
    }
}

/// A group that works, as a majority of its members sees it.
struct Living<'a> {
    uuid: &'a str,
    primary: Ordinal,
    sees: &'a [Seen],
    /// Those who say so.
    witnesses: BTreeSet<Ordinal>,
}

impl Living<'_> {
    fn state(&self, member: Ordinal) -> Option<State> {
        self.sees.iter().find(|seen| seen.member == Some(member)).map(|seen| seen.state)
    }

    /// All that are in it with all that it has, reached or not.
    fn has_all(&self) -> impl Iterator<Item = Ordinal> {
        self.sees.iter().filter(|seen| seen.state != State::Recovering).filter_map(|seen| seen.member)
    }

    /// Who is in it, and does not have all that it has.
    fn recovering(&self) -> Option<Ordinal> {
        self.sees.iter().find(|seen| seen.state == State::Recovering)?.member
    }

    fn has_online(&self, member: Ordinal) -> bool {
        self.state(member) == Some(State::Online)
    }

    /// Whether it is made of members that were in another group than the one that counted.
    fn is_apart(&self, group: &Group) -> bool {
        self.witnesses.is_subset(&group.apart)
    }

    /// Whether it may be the group that worked last: not one that was given up, and none that was made by hand beside
    /// it.
    fn counts(&self, group: &Group) -> bool {
        !self.is_apart(group) && group.uuid.as_ref().is_none_or(|uuid| uuid == self.uuid)
    }

    /// Whether a person has said that it is the one that counts.
    fn is_named(&self, group: &Group) -> bool {
        matches!(group.word, Some(Word::Survivor(member)) if self.has_online(member))
    }

    /// Who may be read from: healthy members that keep up, and the primary only where there is no other.
    fn readers(&self, group: &Group) -> BTreeSet<Ordinal> {
        let reads = |member: Ordinal| {
            let is_well = |view: &View| view.is_with(self.primary) && !view.lags;
            self.has_online(member)
                && member != self.primary
                && group.view(member).is_none_or(is_well)
                && group.stays(member)
        };
        let readers: BTreeSet<_> = group.members.keys().copied().filter(|&member| reads(member)).collect();
        if readers.is_empty() { BTreeSet::from([self.primary]) } else { readers }
    }

    /// Who is apart while this is the group that counts: whoever is in it is not, whatever it was before.
    fn remembers(&self, group: &Group) -> BTreeSet<Ordinal> {
        if self.is_apart(group) {
            return self.takes_up(group);
        }
        group.still_apart().filter(|&member| !self.has_online(member)).collect()
    }

    /// Who is apart once this group counts in another one's place: all others, since any of them may have been in that
    /// one.
    fn takes_up(&self, group: &Group) -> BTreeSet<Ordinal> {
        let all: BTreeSet<_> =
            (0..group.wanted).chain(group.members.keys().copied()).chain(group.known.iter().copied()).collect();
        all.into_iter().filter(|&member| self.state(member).is_none() && !group.is_blank(member)).collect()
    }
}

impl Group {
    fn views(&self) -> impl Iterator<Item = (Ordinal, &View)> {
        self.members.iter().filter_map(|(&ordinal, member)| Some((ordinal, member.view.as_ref()?)))
    }

    fn view(&self, ordinal: Ordinal) -> Option<&View> {
        self.members.get(&ordinal)?.view.as_ref()
    }

    /// Whether a member has nothing that the group ever had.
    fn is_blank(&self, member: Ordinal) -> bool {
        self.view(member).is_some_and(|view| !view.joined)
    }

    /// Who was in another group, and has not got a new volume since.
    fn still_apart(&self) -> impl Iterator<Item = Ordinal> {
        self.apart.iter().copied().filter(|&member| !self.is_blank(member))
    }

    /// Whether a member can be told to do something that lasts.
    fn stays(&self, ordinal: Ordinal) -> bool {
        self.members.get(&ordinal).is_some_and(|member| member.pod == Pod::Present)
    }
}

/// The groups that work: a primary on whom a majority of the group's members agree. One member alone may still believe
/// in what was true a moment ago.
fn living(group: &Group) -> Vec<Living<'_>> {
    let mut claims: BTreeMap<_, Vec<(Ordinal, &View)>> = BTreeMap::new();
    for (member, view) in group.views().filter(|(_, view)| view.has_quorum()) {
        if let Some(primary) = view.sees.iter().find(|seen| seen.primary).and_then(|seen| seen.member) {
            claims.entry((view.group.as_str(), primary)).or_default().push((member, view));
        }
    }
    let agreed = claims.into_iter().filter_map(|((uuid, primary), views)| {
        // Of those that agree, the one that sees most: a member that has just joined may not be seen by all.
        let (_, widest) = views.iter().max_by_key(|(_, view)| view.sees.len())?;
        let witnesses = views.iter().map(|(member, _)| *member).collect();
        (views.len() * 2 > widest.sees.len()).then_some(Living { uuid, primary, sees: &widest.sees, witnesses })
    });
    agreed.collect()
}

/// There is a group: clients are led to it, and whoever is missing is brought back.
fn in_group(group: &Group, living: &Living<'_>) -> Verdict {
    // The group may still see somebody who says of himself that he has gone, or who is about to go.
    let gone = |member| group.view(member).is_some_and(|view| view.state != State::Online) || !group.stays(member);
    let missing: BTreeSet<_> = (0..group.wanted).filter(|&member| !living.has_online(member) || gone(member)).collect();
    let apart = living.remembers(group);
    let errant =
        group.view(living.primary).map(|primary| errant(group, living, &apart, &primary.gtids)).unwrap_or_default();
    let action = next(group, living, &missing, &errant);
    let let_in = match action {
        Some(Action::Join(member)) if !group.is_blank(member) => Some(member),
        _ => None,
    };
    Verdict {
        action,
        condition: if missing.is_empty() { Condition::Healthy } else { Condition::Degraded(missing) },
        route: Route::To(living.primary),
        readers: living.readers(group),
        errant,
        known: living.has_all().collect(),
        joining: living.recovering().or(let_in),
        apart,
    }
}

/// The members outside of the group that have transactions which the primary has not, or may have others of the same
/// numbers.
fn errant(
    group: &Group,
    living: &Living<'_>,
    apart: &BTreeSet<Ordinal>,
    primary: &GtidSet,
) -> BTreeMap<Ordinal, GtidSet> {
    let outside =
        group.views().filter(|(member, view)| living.state(*member).is_none() && (view.joined || view.foreign));
    let own = outside.map(|(member, view)| (member, view.gtids.minus(primary)));
    own.filter(|(member, own)| !own.is_empty() || apart.contains(member)).collect()
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
    if let Some(action) = bring_back(group, living, errant) {
        return Some(action);
    }
    // Everything from here on takes a member away, or moves the primary: never while one is missing, or may be. One
    // that is not wanted any more still has its vote until the group has given it up: without another one, that may be
    // half.
    let silent = (0..group.wanted).any(|member| group.view(member).is_none());
    let mut beyond = living.sees.iter().filter_map(|seen| seen.member).filter(|&member| member >= group.wanted);
    let goes =
        beyond.any(|member| !group.stays(member) || group.view(member).is_none_or(|view| view.state != State::Online));
    if !missing.is_empty() || silent || goes || living.sees.iter().any(|seen| seen.state != State::Online) {
        return None;
    }
    shrink(group, living).or_else(|| restart(group, living)).or_else(|| prefer(group, living))
}

/// The next of those who are outside, and can be helped. Who was tried in vain several times waits until the others
/// were: one that nobody can help must not keep them out.
fn bring_back(group: &Group, living: &Living<'_>, errant: &BTreeMap<Ordinal, GtidSet>) -> Option<Action> {
    let joins = |member: Ordinal| {
        let outside = group.view(member).is_some_and(|view| !view.state.votes());
        outside && living.state(member).is_none() && group.stays(member)
    };
    // Whom a person has named comes first: one that could join by itself gets nowhere, where its rows differ from the
    // group's.
    let named = match group.word {
        Some(Word::Reclone(member))
            if joins(member) && group.view(member).is_some_and(|view| view.joined || view.foreign) =>
        {
            Some(member)
        }
        _ => None,
    };
    let pauses = |member: &Ordinal| group.paused.contains(member);
    let rest = (0..group.wanted).filter(|&member| joins(member) && Some(member) != named);
    let (own, plain): (Vec<_>, Vec<_>) = rest.partition(|member| errant.contains_key(member));
    // Who only has to join comes before those who have to be filled, which takes long.
    let (blank, plain): (Vec<_>, Vec<_>) = plain.into_iter().partition(|&member| group.is_blank(member));
    // A primary that is far behind what the group has agreed upon may only seem to lack a transaction.
    let unasked = group.reclone_errant && group.view(living.primary).is_some_and(|primary| !primary.lags);
    let own = own.into_iter().filter(|member| unasked && !pauses(member));
    let joining = plain.into_iter().chain(blank).map(Action::Join);
    let filled = named.filter(|member| !pauses(member)).into_iter().map(Action::Reclone);
    let turn = |action: &Action| group.attempts.get(&action.member()).map_or(0, |attempts| attempts / ATTEMPTS);
    filled.chain(joining).chain(own.map(Action::Reclone)).min_by_key(turn)
}

/// A person's choice of the primary comes last: what has to be restarted would be moved away again.
fn prefer(group: &Group, living: &Living<'_>) -> Option<Action> {
    let Some(Word::Primary(member)) = group.word else { return None };
    let can = member != living.primary && member < group.wanted && group.stays(member);
    can.then_some(Action::MakePrimary(member))
}

/// Who becomes the primary in another one's place: rather one whose volume has room, and that keeps up, since writes
/// wait until it has applied what it has received.
fn heir(group: &Group, not: Ordinal) -> Option<Ordinal> {
    let heirs = (0..group.wanted).filter(|&member| member != not && group.stays(member));
    heirs.min_by_key(|&heir| {
        let full = group.members.get(&heir).is_some_and(|member| member.full);
        (full, group.view(heir).is_none_or(|view| view.lags))
    })
}

/// The last member leaves, where there are more than wanted.
fn shrink(group: &Group, living: &Living<'_>) -> Option<Action> {
    let (&last, member) = group.members.last_key_value().filter(|(last, _)| **last >= group.wanted)?;
    Some(match member.pod {
        Pod::Missing | Pod::Terminating => return None,
        Pod::Present if living.primary >= group.wanted => Action::MakePrimary(heir(group, living.primary)?),
        Pod::Present if living.state(last).is_some() => Action::Leave(last),
        Pod::Present | Pod::Pending => Action::Remove(last),
    })
}

/// One Pod is replaced: the primary's last, after another member has taken over.
fn restart(group: &Group, living: &Living<'_>) -> Option<Action> {
    let outdated = || group.outdated.iter().copied().filter(|&member| member < group.wanted && group.stays(member));
    let secondary = outdated().rfind(|&member| member != living.primary);
    secondary.map(Action::Restart).or_else(|| {
        let primary = outdated().find(|&member| member == living.primary)?;
        // Nobody can take over from the only one.
        Some(heir(group, primary).map_or(Action::Restart(primary), Action::MakePrimary))
    })
}

/// There is no group that is known to work.
fn without_group(group: &Group) -> Verdict {
    let mut inside = group.views().filter(|(_, view)| view.state.votes()).peekable();
    if inside.peek().is_some() {
        return if inside.any(|(_, view)| view.has_quorum() || view.state == State::Recovering) {
            waiting(group, Condition::Unclear, Route::Keep)
        } else {
            decided(group, lost(group).map_or(Condition::NoQuorum, Condition::Lost), Route::Nobody)
        };
    }
    // A member that cannot be asked may be in a group that works.
    let answers = |member: &Member| matches!(member.pod, Pod::Present | Pod::Pending) && member.view.is_some();
    let beyond =
        group.members.iter().filter(|(ordinal, member)| **ordinal >= group.wanted && member.pod != Pod::Missing);
    // Where nobody knows who was in the group, whoever has a volume may have been.
    let kept = group.kept.iter().filter(|_| group.known.is_empty());
    let expected = (0..group.wanted).chain(beyond.map(|(ordinal, _)| ordinal).chain(kept).copied());
    let silent: BTreeSet<_> = expected.filter(|ordinal| !group.members.get(ordinal).is_some_and(answers)).collect();
    if !silent.is_empty() {
        return decided(group, lost(group).map_or(Condition::Outage(silent), Condition::Lost), Route::Keep);
    }
    formation(group)
}

/// Who has lost its data of those who were in the group at last, where they are the most: the others may lack
/// something, unless one of them that does not answer was the last in the group.
fn lost(group: &Group) -> Option<BTreeSet<Ordinal>> {
    let lost: BTreeSet<_> = group.known.iter().copied().filter(|&member| group.is_blank(member)).collect();
    (lost.len() * 2 > group.known.len()).then_some(lost)
}

/// From whom a person may have the group formed anew: members that can be told. One that has lost its data is not taken
/// where another has some, or may have.
pub fn candidates(group: &Group) -> BTreeSet<Ordinal> {
    // Of a group that nobody knows, what another stack's had counts.
    let has = |view: &View| view.joined || (view.foreign && group.known.is_empty());
    let lacks = |member| group.view(member).is_some_and(|view| !has(view));
    let nobody_has = (0..group.wanted).chain(group.known.iter().copied()).all(lacks);
    let can = |(member, view): (Ordinal, &View)| (group.stays(member) && (has(view) || nobody_has)).then_some(member);
    group.views().filter_map(can).collect()
}

/// The verdict where a person has decided, and where nobody has.
fn decided(group: &Group, undecided: Condition, route: Route) -> Verdict {
    match survivor(group) {
        Some(action) => {
            Verdict { action: Some(action), ..waiting(group, Condition::Outage(BTreeSet::new()), Route::Nobody) }
        }
        None => waiting(group, undecided, route),
    }
}

/// What a person has decided, where the member can be told.
fn survivor(group: &Group) -> Option<Action> {
    let Some(Word::Survivor(member)) = group.word else { return None };
    candidates(group).contains(&member).then_some(Action::Reform(member))
}

/// Everybody answers, and nobody is in a group: it is formed, by the member that has everything.
fn formation(group: &Group) -> Verdict {
    // What somebody has who was in another group says nothing of this one's.
    let counts = |(member, view): &(Ordinal, &View)| view.joined && !group.apart.contains(member);
    let mut joined: BTreeMap<_, _> = group.views().filter(counts).collect();
    if joined.is_empty() && group.known.is_empty() {
        // Volumes of a stack of another name: what its group had counts here as well.
        joined = group.views().filter(|(_, view)| view.foreign).collect();
    }
    if joined.is_empty() && group.known.is_empty() {
        // What the others hold came with their images, and is the same as the first one's.
        return Verdict { action: Some(Action::Bootstrap(0)), ..waiting(group, Condition::New, Route::Nobody) };
    }
    // Every acknowledged transaction is on a majority of the members that there were: with fewer lost, somebody has it.
    // Who was being let in may have been one of them.
    let last: BTreeSet<_> = group.known.iter().copied().chain(group.joining).collect();
    let lost = |of: &BTreeSet<Ordinal>| of.iter().copied().filter(|member| !joined.contains_key(member)).collect();
    for of in [&group.known, &last] {
        let lost: BTreeSet<_> = lost(of);
        if lost.len() * 2 > of.len() {
            return decided(group, Condition::Lost(lost), Route::Nobody);
        }
    }
    // Of those who were not in the group at last, only the group's own transactions count, which they have where what
    // is known is not the newest; others are theirs alone.
    let all = union(&joined);
    let of_group = group.uuid.as_ref().map_or_else(|| all.clone(), |uuid| all.of(uuid));
    let last = joined.iter().filter(|(member, _)| last.contains(member)).map(|(&member, &view)| (member, view));
    let last =
        whole(&last.collect()).filter(|member| joined.get(member).is_some_and(|view| view.gtids.contains(&of_group)));
    match last.or_else(|| whole(&joined)) {
        Some(member) => Verdict {
            action: Some(Action::Bootstrap(member)),
            ..waiting(group, Condition::Outage(BTreeSet::new()), Route::Nobody)
        },
        None => {
            let lacks = joined.iter().map(|(&member, view)| (member, all.minus(&view.gtids)));
            decided(group, Condition::Diverged(lacks.collect()), Route::Nobody)
        }
    }
}

/// What any of these members has.
fn union(members: &BTreeMap<Ordinal, &View>) -> GtidSet {
    members.values().fold(GtidSet::default(), |all, view| all.plus(&view.gtids))
}

/// The first of these members that has what any of them has.
fn whole(members: &BTreeMap<Ordinal, &View>) -> Option<Ordinal> {
    let all = union(members);
    members.iter().find(|(_, view)| view.gtids.contains(&all)).map(|(&member, _)| member)
}
