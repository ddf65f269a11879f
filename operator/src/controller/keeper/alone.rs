//! A server that still runs alone, of a stack that wants a group.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::rounds::Met;
use crate::group::{Action, Condition, Group, Ordinal, Route, Verdict, classify};
use crate::names::{FUTURE_GROUP, GROUP};

/// How often a server that runs alone is told to form the group as it is, before it is replaced instead.
const ATTEMPTS: u32 = 3;

/// The verdict, and what the group's own rules do not know of: a Pod that still runs alone, from before there was a
/// group, goes on serving until all others are there, and then forms the group as it runs. Where it cannot, it is
/// replaced by one that can.
pub(super) fn judge(
    group: &Group,
    pods: &BTreeMap<Ordinal, Pod>,
    met: &BTreeMap<Ordinal, Met>,
    failures: u32,
) -> Verdict {
    let member = 0;
    let alone = pods.get(&member).filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_member(pod));
    let unformed = group
        .members
        .values()
        .filter_map(|member| member.view.as_ref())
        .all(|view| !view.joined && !view.state.votes());
    let Some(pod) = alone.filter(|_| unformed && group.known.iter().all(|known| *known == member)) else {
        return classify(group);
    };
    let answers = |other: Ordinal| group.members.get(&other).is_some_and(|member| member.view.is_some());
    let ready = group.outdated.contains(&member) && (1..group.wanted).all(answers);
    let action = match met.get(&member) {
        Some(Met::Answered(said)) if said.capable && failures < ATTEMPTS => Some(Action::Bootstrap(member)),
        // The user's own settings, or an earlier version's.
        Some(Met::Answered(_) | Met::Refused) => Some(Action::Restart(member)),
        _ => (!knows_group(pod)).then_some(Action::Restart(member)),
    };
    Verdict {
        condition: Condition::New,
        route: Route::To(member),
        readers: BTreeSet::from([member]),
        action: action.filter(|_| ready),
        errant: BTreeMap::new(),
        known: group.known.clone(),
        joining: group.joining,
        apart: group.apart.clone(),
    }
}

/// Whether a Pod was made with a group's settings, be it for a server that runs alone so far.
pub(super) fn knows_group(pod: &Pod) -> bool {
    is_member(pod) || pod.annotations().contains_key(FUTURE_GROUP)
}

/// Whether a Pod was made as a group's member: it does not serve by itself.
pub(in crate::controller) fn is_member(pod: &Pod) -> bool {
    pod.annotations().contains_key(GROUP)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::group::gtid::GtidSet;
    use crate::group::{self, Member, State};
    use crate::mysql::Statement;

    fn pod(annotations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
    }

    fn says(state: State, capable: bool) -> Met {
        let seen = group::Seen { member: Some(0), state, primary: true };
        let sees = if state.votes() { vec![seen] } else { Vec::new() };
        let gtids = GtidSet::default();
        let (group, joined, foreign, lags) = (String::new(), false, false, false);
        let view = group::View { state, group, sees, gtids: gtids.clone(), joined, foreign, lags };
        Met::Answered(Box::new(Statement { view, uuid: String::new(), lag: 0, applied: gtids, capable }))
    }

    /// One that runs alone, and two new members that answer.
    fn from_one(alone: &Pod, first: Met, known: &[Ordinal], failures: u32) -> Verdict {
        let met = BTreeMap::from([(0, first), (1, says(State::Offline, true)), (2, says(State::Offline, true))]);
        let members = met.iter().map(|(&ordinal, met)| {
            let view = met.statement().map(|said| said.view.clone());
            (ordinal, Member { pod: group::Pod::Present, view, full: false })
        });
        let group = Group {
            wanted: 3,
            members: members.collect(),
            known: known.iter().copied().collect(),
            outdated: BTreeSet::from([0]),
            ..Group::default()
        };
        let grouped = pod(json!({GROUP: "uuid"}));
        let pods = BTreeMap::from([(0, alone.clone()), (1, grouped.clone()), (2, grouped)]);
        judge(&group, &pods, &met, failures)
    }

    #[test]
    fn one_that_runs_alone_serves_and_forms_the_group_as_it_is_where_it_can() {
        let alone = pod(json!({FUTURE_GROUP: "uuid"}));
        let action = |first, known: &[Ordinal], failures| {
            let verdict = from_one(&alone, first, known, failures);
            assert_eq!((verdict.route, verdict.condition), (Route::To(0), Condition::New));
            verdict.action
        };
        let capable = || says(State::Offline, true);
        assert_eq!(action(capable(), &[], 0), Some(Action::Bootstrap(0)));
        assert_eq!(action(capable(), &[0], 2), Some(Action::Bootstrap(0)), "attempts failed");
        assert_eq!(action(capable(), &[0], 3), Some(Action::Restart(0)), "too many did");
        assert_eq!(action(says(State::Offline, false), &[], 0), Some(Action::Restart(0)));
        assert_eq!(action(Met::Refused, &[], 0), Some(Action::Restart(0)), "root may not log in from the network");
        assert_eq!(action(Met::Silent, &[], 0), None, "it does not answer at this moment");
        let formed = from_one(&alone, says(State::Online, true), &[0], 0);
        assert_eq!((formed.route, formed.action), (Route::To(0), Some(Action::Join(1))));
        let earlier = from_one(&pod(json!({})), Met::Silent, &[], 0);
        assert_eq!(earlier.action, Some(Action::Restart(0)), "made by a version that asks nobody who runs alone");
    }
}
