//! What the user is told of a group.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::State;
use crate::controller::keeper::{Failover, Report};
use crate::controller::observe::Observed;
use crate::crd::{FailoverStatus, MemberStatus, MysqlStatus};
use crate::group::gtid::GtidSet;
use crate::group::{self, Condition, Ordinal, Word};
use crate::names;

/// Why a group is `Blocked` of which a member is kept out.
pub(super) const MEMBERS_ERRANT: &str = "MembersErrant";

/// The same of one that nobody forms anew, since no member has all transactions.
pub(super) const MEMBERS_DIVERGED: &str = "MembersDiverged";

/// How many characters of a set of transactions are told.
const LENGTH: usize = 200;

pub(super) fn pod(observed: &Observed, member: Ordinal) -> String {
    names::member(&observed.stack, member)
}

fn pods<'a>(observed: &Observed, members: impl IntoIterator<Item = &'a Ordinal>) -> String {
    members.into_iter().map(|&member| pod(observed, member)).collect::<Vec<_>>().join(", ")
}

fn short(gtids: &GtidSet) -> String {
    let text = gtids.to_string();
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What only a member has.
fn own(gtids: &GtidSet) -> String {
    if gtids.is_empty() { ANOTHER_GROUPS.to_owned() } else { short(gtids) }
}

/// The transactions that a member has and no other one, by what each of them lacks of the others'.
fn alone(lacks: &BTreeMap<Ordinal, GtidSet>, member: Ordinal) -> GtidSet {
    let disputed = lacks.values().fold(GtidSet::default(), |all, lacks| all.plus(lacks));
    let own = lacks.get(&member).map(|lacks| disputed.minus(lacks)).unwrap_or_default();
    let others = lacks.iter().filter(|(other, _)| **other != member);
    others.fold(own, |own, (_, lacks)| own.minus(&disputed.minus(lacks)))
}

/// Which member has what, of the transactions that not all of them have.
fn diverged(observed: &Observed, lacks: &BTreeMap<Ordinal, GtidSet>) -> String {
    let words = lacks.iter().map(|(&member, missing)| {
        let (pod, own) = (pod(observed, member), alone(lacks, member));
        match own.is_empty() {
            true => format!("{pod} lacks {}", short(missing)),
            false => format!("only {pod} has {}, and it lacks {}", short(&own), short(missing)),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// What a member may have that was in another group.
const ANOTHER_GROUPS: &str = "another group's, under the same numbers";

/// Why a member is kept out.
pub(super) fn kept_out(pod: &str, own: &str) -> String {
    match own {
        ANOTHER_GROUPS => format!("{pod} was in another group, and may have other rows under the numbers of this one"),
        _ => format!("{pod} has transactions that the group has not: {own}"),
    }
}

/// A person's word, as it was written.
pub(super) fn written(observed: &Observed, word: Word) -> String {
    word.written(&pod(observed, word.member()))
}

fn word(state: Option<group::State>) -> &'static str {
    match state {
        None => "SILENT",
        Some(group::State::Online) => "ONLINE",
        Some(group::State::Recovering) => "RECOVERING",
        Some(group::State::Unreachable) => "UNREACHABLE",
        Some(group::State::Error) => "ERROR",
        Some(group::State::Offline) => "OFFLINE",
    }
}

/// What was told of the members last; until there are news, what the status says already.
pub(super) fn status(observed: &Observed, wanted: i32) -> MysqlStatus {
    let stack = &observed.stack;
    let before = stack.status.as_ref().and_then(|status| status.mysql.clone()).unwrap_or_default();
    let told = |ready: i32| MysqlStatus {
        instances: wanted,
        ready_instances: ready,
        ready: format!("{ready}/{wanted}"),
        ..before.clone()
    };
    if stack.spec.suspend {
        return MysqlStatus { primary: None, members: Vec::new(), ..told(0) };
    }
    let Some(report) = &observed.group else { return told(before.ready_instances.min(wanted)) };
    let missing = match &report.condition {
        Condition::Healthy | Condition::Degraded(_) => i32::try_from(missing(observed, report).len()).unwrap_or(wanted),
        // Those of the group that clients are led to, where there are several; one that serves from before there was a
        // group.
        _ => {
            let inside = report.members.values().filter(|told| told.inside).count();
            let inside = i32::try_from(inside).unwrap_or(wanted).min(wanted);
            wanted - inside.max(i32::from(report.primary.is_some()))
        }
    };
    MysqlStatus {
        primary: report.primary.map(|primary| pod(observed, primary)),
        members: report.members.keys().map(|&ordinal| member(observed, report, ordinal)).collect(),
        known: report.known.iter().map(|&known| pod(observed, known)).collect(),
        apart: report.apart.iter().map(|&member| pod(observed, member)).collect(),
        uuid: observed.group_uuid().map(str::to_owned),
        followed: report.followed.iter().map(|word| written(observed, *word)).collect(),
        last_failover: report
            .failover
            .as_ref()
            .map(|failover| told_of(observed, failover))
            .or(before.last_failover.clone()),
        ..told((wanted - missing).max(0))
    }
}

/// Who is not in a group that works; nobody has looked yet at those that are wanted since a moment ago.
fn missing(observed: &Observed, report: &Report) -> BTreeSet<Ordinal> {
    let wanted = observed.stack.spec.mysql.as_ref().and_then(|mysql| u32::try_from(mysql.instances).ok());
    let mut missing: BTreeSet<_> = (report.wanted..wanted.unwrap_or_default()).collect();
    if let Condition::Degraded(known) = &report.condition {
        missing.extend(known);
    }
    missing
}

/// Who is there and not wanted any more.
fn beyond(observed: &Observed, report: &Report) -> BTreeSet<Ordinal> {
    let wanted = observed.stack.spec.mysql.as_ref().and_then(|mysql| u32::try_from(mysql.instances).ok());
    report.members.keys().copied().filter(|member| wanted.is_some_and(|wanted| *member >= wanted)).collect()
}

/// For whom those wait who are not wanted any more: nobody leaves while somebody is missing who is wanted.
fn waits_to_shrink(observed: &Observed, report: &Report) -> Option<String> {
    let beyond = beyond(observed, report);
    let missing: Vec<_> = missing(observed, report).into_iter().filter(|member| !beyond.contains(member)).collect();
    let are = if missing.len() > 1 { "are" } else { "is" };
    let waits = !beyond.is_empty() && !missing.is_empty();
    waits.then(|| format!("fewer instances wait until {} {are} back", pods(observed, &missing)))
}

fn told_of(observed: &Observed, failover: &Failover) -> FailoverStatus {
    FailoverStatus {
        from: pod(observed, failover.from),
        to: pod(observed, failover.to),
        time: failover.at.strftime("%FT%TZ").to_string(),
        milliseconds: i32::try_from(failover.took.as_millis()).unwrap_or(i32::MAX),
    }
}

fn member(observed: &Observed, report: &Report, ordinal: Ordinal) -> MemberStatus {
    let told = report.members.get(&ordinal).cloned().unwrap_or_default();
    let role = match report.primary {
        Some(primary) if primary == ordinal => Some("primary"),
        _ => told.inside.then_some("replica"),
    };
    let errant = match &report.condition {
        // There is no group that it could be compared with: what counts is what no other member has.
        Condition::Diverged(lacks) if lacks.contains_key(&ordinal) => {
            Some(alone(lacks, ordinal)).filter(|own| !own.is_empty()).map(|own| short(&own))
        }
        _ => told.errant.as_ref().map(own),
    };
    MemberStatus {
        name: pod(observed, ordinal),
        state: word(told.state).to_owned(),
        role: role.map(str::to_owned),
        lags: told.lags,
        lag_seconds: told.behind.map(|behind| i64::try_from(behind.seconds).unwrap_or(i64::MAX)),
        gtid_gap: told.behind.map(|behind| i64::try_from(behind.transactions).unwrap_or(i64::MAX)),
        used: told.used.map(|used| used.percent),
        errant,
    }
}

fn not_asked(observed: &Observed) -> String {
    let why = observed.unasked.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("the members have not been asked yet{why}")
}

/// How the database stands that does not serve.
pub(super) fn state(observed: &Observed) -> State {
    let Some(report) = &observed.group else {
        return State::Moves("DatabaseStarts", format!("mysql: {}", not_asked(observed)));
    };
    let blocked = |reason: &str, message: String| State::Blocked(reason.to_owned(), format!("mysql: {message}"));
    let failure = report.failure.as_ref().map(|failure| format!("; {failure}")).unwrap_or_default();
    let decide = match report.unheard {
        Some(word) => unheard(observed, report, word),
        None => {
            let names = candidates(observed, report);
            format!("decide by the annotation {} with the name of the Pod whose data counts; {names}", names::SURVIVOR)
        }
    };
    match &report.condition {
        Condition::New => State::Moves("GroupForms", format!("mysql: the group is being formed{failure}")),
        Condition::Healthy | Condition::Degraded(_) => {
            State::Moves("ClientsNotLed", format!("mysql: writes are not led to the primary{failure}"))
        }
        Condition::Unclear => {
            State::Moves("PrimaryUnclear", "mysql: the members do not agree on a primary at this moment".to_owned())
        }
        Condition::Outage(silent) if silent.is_empty() => {
            State::Moves("GroupForms", format!("mysql: the group is being formed anew{failure}"))
        }
        Condition::Outage(silent) => {
            let silent = pods(observed, silent);
            let decide = match report.unheard {
                Some(_) => format!("; {decide}"),
                // At first, all of them start.
                None if report.candidates.is_empty() => String::new(),
                None => format!("; if one never comes, {decide}"),
            };
            State::Moves("WaitsForMembers", format!("mysql: waits for an answer of {silent}{decide}"))
        }
        Condition::NoQuorum => blocked(
            "QuorumLost",
            format!("the members that are left are no majority: bring the others back, or {decide}"),
        ),
        Condition::Diverged(lacks) => {
            let who = diverged(observed, lacks);
            blocked(MEMBERS_DIVERGED, format!("no member has all transactions: {who}; {decide}"))
        }
        Condition::Lost(lost) => {
            let silent = report.members.iter().filter(|(_, told)| told.state.is_none()).map(|(member, _)| member);
            let silent: Vec<_> = silent.collect();
            let first = match silent.is_empty() {
                true => String::new(),
                false => format!("bring back {}, which may have more, or ", pods(observed, silent)),
            };
            blocked("DataLost", format!("{} have lost their data: {first}{decide}", pods(observed, lost)))
        }
        Condition::Split(primaries) => {
            let others = primaries.iter().filter(|primary| report.primary != Some(**primary));
            let others = pods(observed, others);
            let led = match report.primary {
                Some(led) => format!("that of {}", pod(observed, led)),
                None => "none of them".to_owned(),
            };
            blocked(
                "TwoGroups",
                format!(
                    "there are several groups: clients are led to {led}; stop that of {others}, or take it up by the \
                     annotation {} with one of its members",
                    names::SURVIVOR
                ),
            )
        }
        Condition::GivenUp(primary) => {
            let primary = pod(observed, *primary);
            let way = format!("stop it, or take it up by the annotation {} with one of its members", names::SURVIVOR);
            blocked(
                "GroupGivenUp",
                format!("the only group that works is led by {primary}, and is not the one that counts: {way}"),
            )
        }
    }
}

/// Whom a person may name.
fn candidates(observed: &Observed, report: &Report) -> String {
    match report.candidates.len() {
        0 => "nobody who may be named answers yet".to_owned(),
        _ => format!("it may name {}", pods(observed, &report.candidates)),
    }
}

/// Why a person's word is not followed.
fn unheard(observed: &Observed, report: &Report, word: Word) -> String {
    let silent = report.members.get(&word.member()).is_none_or(|told| told.state.is_none());
    let why =
        if silent { "it does not answer" } else { "it is about to end, or has no data where others may have some" };
    let names = candidates(observed, report);
    format!("{} is not followed: {why}; {names}", written(observed, word))
}

/// The same, where it is not told yet.
pub(super) fn newly_unheard(observed: &Observed) -> Option<String> {
    let report = observed.group.as_ref()?;
    let word = report.unheard?;
    let mut told = observed.stack.status.iter().flat_map(|status| &status.conditions);
    let is_told = told.any(|told| told.message.contains(&written(observed, word)));
    (!is_told).then(|| unheard(observed, report, word))
}

/// Who was not in the group when it was last seen to work, and is now; and who was.
pub(super) fn newcomers_and_leavers(observed: &Observed, now: &MysqlStatus) -> (Vec<String>, Vec<String>) {
    let before = observed.stack.status.as_ref().and_then(|status| status.mysql.as_ref());
    let told = observed.group.as_ref().filter(|_| observed.is_group());
    let Some((before, _)) = before.zip(told) else { return Default::default() };
    let without = |of: &[String], those: &[String]| of.iter().filter(|pod| !those.contains(pod)).cloned().collect();
    (without(&now.known, &before.known), without(&before.known, &now.known))
}

/// An annotation by which a person decides, and that names no member.
fn misnamed(observed: &Observed, report: &Report) -> Option<String> {
    let members = pods(observed, report.members.keys());
    let names_nobody = |name: &String| !report.members.keys().any(|&member| pod(observed, member) == *name);
    let annotations = [names::SURVIVOR, names::RECLONE, names::PREFERRED];
    annotations.iter().find_map(|annotation| {
        let name = observed.stack.annotations().get(*annotation).filter(|name| names_nobody(name))?;
        Some(format!("annotation {annotation} is {name:?}, and must be one of: {members}"))
    })
}

/// What a condition said last, of a stack that is not suspended.
fn before(observed: &Observed, type_: &str) -> Option<(&'static str, String, String)> {
    let status = observed.stack.status.as_ref().filter(|_| !observed.stack.spec.suspend)?;
    let known = status.conditions.iter().find(|known| known.type_ == type_ && known.status == "True")?;
    Some(("True", known.reason.clone(), known.message.clone()))
}

/// `Degraded` and `Blocked`, as `(type, (status, reason, message))`.
pub(super) fn conditions(observed: &Observed) -> [(&'static str, (&'static str, String, String)); 2] {
    let healthy = || ("False", "AllMembersOnline".to_owned(), "every member is in the group".to_owned());
    let free = || ("False", "NothingToDecide".to_owned(), "nobody has to decide anything".to_owned());
    let Some(report) = observed.group.as_ref().filter(|_| !observed.stack.spec.suspend) else {
        let unknown = ("Unknown", "NotAsked".to_owned(), not_asked(observed));
        return [("Degraded", unknown), ("Blocked", before(observed, "Blocked").unwrap_or_else(free))];
    };
    let failure = report.failure.as_ref().map(|failure| format!("; {failure}")).unwrap_or_default();
    let degraded = match &report.condition {
        Condition::Healthy | Condition::Degraded(_) if missing(observed, report).is_empty() => healthy(),
        Condition::Healthy | Condition::Degraded(_) => {
            let waits = waits_to_shrink(observed, report).map(|waits| format!("; {waits}")).unwrap_or_default();
            let message = format!("not in the group: {}{waits}{failure}", pods(observed, &missing(observed, report)));
            ("True", "MembersMissing".to_owned(), message)
        }
        _ => match state(observed) {
            State::Serves(reason) => ("False", reason.to_owned(), String::new()),
            State::Moves(reason, message) => ("True", reason.to_owned(), message),
            State::Blocked(reason, message) => ("True", reason, message),
        },
    };
    let errant = report.members.iter().filter_map(|(member, told)| Some((*member, told.errant.as_ref()?)));
    let errant: Vec<_> = errant.filter(|(member, _)| waits_for_a_person(observed, report, *member)).collect();
    let blocked = match state(observed) {
        State::Blocked(reason, message) => ("True", reason, message),
        _ if !errant.is_empty() => {
            let words = errant.iter().map(|(member, gtids)| kept_out(&pod(observed, *member), &own(gtids)));
            let words = words.collect::<Vec<_>>().join("; ");
            let message = format!("{words}; it stays out until the annotation {} gives them up", names::RECLONE);
            ("True", MEMBERS_ERRANT.to_owned(), message)
        }
        _ => match misnamed(observed, report) {
            Some(message) => ("True", "AnnotationInvalid".to_owned(), message),
            None => free(),
        },
    };
    [("Degraded", degraded), ("Blocked", blocked)]
}

/// Whether a member is kept out until a person gives up what only it has.
fn waits_for_a_person(observed: &Observed, report: &Report, member: Ordinal) -> bool {
    let given_up = observed.stack.spec.mysql.as_ref().is_some_and(|mysql| mysql.reclone_errant);
    !given_up && report.members.get(&member).is_some_and(|told| told.errant.is_some())
}

/// What still changes in a group that serves.
pub(super) fn moves(observed: &Observed) -> Option<String> {
    let report = observed.group.as_ref().filter(|_| observed.is_group())?;
    let name = observed.stack.name_any();
    match &report.condition {
        Condition::Healthy | Condition::Degraded(_) => {
            let missing = missing(observed, report);
            let failure = report.failure.as_ref();
            let beyond = beyond(observed, report);
            match (missing.is_empty(), report.outdated.is_empty()) {
                (true, _) if !beyond.is_empty() => {
                    let failure = failure.map(|failure| format!("; {failure}")).unwrap_or_default();
                    Some(format!("mysql: on the way out of the group: {}{failure}", pods(observed, &beyond)))
                }
                (true, true) => failure.map(|failure| format!("mysql: {failure}")),
                (true, false) => {
                    let failure = failure.map(|failure| format!("; {failure}")).unwrap_or_default();
                    Some(format!("mysql: to be replaced: {}{failure}", pods(observed, &report.outdated)))
                }
                (false, _) => {
                    let (kept_out, coming): (BTreeSet<_>, BTreeSet<_>) =
                        missing.into_iter().partition(|member| waits_for_a_person(observed, report, *member));
                    let waits = waits_to_shrink(observed, report).map(|waits| format!("; {waits}")).unwrap_or_default();
                    Some(match coming.is_empty() {
                        true => format!("mysql: waits for a decision about {}{waits}", pods(observed, &kept_out)),
                        false => format!("mysql: on the way into the group: {}{waits}", pods(observed, &coming)),
                    })
                }
            }
        }
        Condition::Split(_) | Condition::GivenUp(_) => {
            Some("mysql: there is another group: a person has to decide".to_owned())
        }
        Condition::NoQuorum | Condition::Diverged(_) | Condition::Lost(_) => {
            Some("mysql: a person has to decide".to_owned())
        }
        _ => Some(format!("mysql: the group of {name} is being formed")),
    }
}
