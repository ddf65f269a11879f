//! Has the action carried out that is due, beside the rounds and one at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

use super::Rounds;
use super::ask::{Met, address};
use crate::controller::backoff;
use crate::controller::keeper::{Wanted, answered, is_member};
use crate::group::gtid::GtidSet;
use crate::group::{ATTEMPTS, Action, Group, Ordinal, Route, State, Verdict, View, Word};
use crate::mysql::{Names, Order, Passwords, Statement};

/// The longest pause after an action that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The pause after a member's data could not be kept aside: each attempt leaves an empty folder.
const PAUSE_OF_COPIES: Duration = Duration::from_secs(300);

/// Something that is being done.
pub(super) struct Doing {
    what: String,
    follows: Option<Word>,
    /// Whose data is kept aside, and which transactions that are.
    keeps: Option<(Ordinal, GtidSet)>,
    /// Who is filled anew.
    fills: Option<Ordinal>,
    task: JoinHandle<Result<(), String>>,
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rounds {
    /// Takes in how the last action has ended, if it has.
    pub(super) async fn finish(&mut self) {
        let Some(mut doing) = self.doing.take_if(|doing| doing.task.is_finished()) else { return };
        let done = (&mut doing.task).await.unwrap_or_else(|error| Err(error.to_string()));
        match done {
            Ok(()) => {
                tracing::info!(what = doing.what, "done");
                (self.failures, self.failure) = (0, None);
                self.followed.get_or_insert_default().extend(doing.follows);
                // Only what follows at once may rely on it: the same transactions may have other rows the next time.
                self.kept = doing.keeps.take();
                if let Some(member) = doing.fills {
                    self.apart.get_or_insert_default().remove(&member);
                }
            }
            Err(error) => {
                (self.replaced, self.reformed) = (None, None);
                tracing::warn!(what = doing.what, error, "not done");
                self.failures = self.failures.saturating_add(1);
                self.pause_until = Instant::now() + backoff::pause(self.failures, &doing.what).min(LONGEST_PAUSE);
                let failure = format!("{}: {error}", doing.what);
                if let Some((member, _)) = doing.keeps {
                    self.not_kept.insert(member, (Instant::now() + PAUSE_OF_COPIES, failure.clone()));
                }
                self.failure = Some(failure);
            }
        }
    }

    /// Whether a Pod that was deleted is there as if it were not: the watches are behind by a moment.
    pub(super) fn replaces(&mut self, pods: &BTreeMap<Ordinal, Pod>) -> bool {
        let stands = |uid: &String| {
            pods.values().any(|pod| pod.uid().as_ref() == Some(uid) && pod.metadata.deletion_timestamp.is_none())
        };
        self.replaced = self.replaced.take().filter(stands);
        self.replaced.is_some()
    }

    /// Begins what is due.
    pub(super) fn act(
        &mut self,
        wanted: &Wanted,
        pods: &BTreeMap<Ordinal, Pod>,
        group: &Group,
        verdict: &Verdict,
        met: &BTreeMap<Ordinal, Met>,
        passwords: Passwords,
    ) {
        let statement = |member: Ordinal| met.get(&member).and_then(Met::statement);
        let names = wanted.names.clone();
        let pod = |member: Ordinal| names.pod(member);
        let order = |member: Ordinal| {
            let pod = pods.get(&member)?;
            let (address, alone) = (address(pod)?, !is_member(pod));
            Some(Order { address, names: wanted.names.clone(), passwords: passwords.clone(), alone })
        };
        // The group's first transaction, also under another UUID: whoever has it was in the group.
        let unmarked = match verdict.route {
            Route::To(primary) => statement(primary)
                .filter(|said| said.view.state == State::Online)
                .filter(|said| !said.view.joined || !said.view.has_any_of_its_group())
                .map(|_| primary),
            _ => None,
        };
        if let Some(primary) = unmarked {
            let Some(order) = order(primary) else { return };
            return self.begin(format!("marking the group through {}", pod(primary)), None, async move {
                told(order.mark().await)
            });
        }
        let Some(action) = verdict.action else {
            self.failure = self.not_kept.values().next().map(|(_, failure)| failure.clone());
            return;
        };
        let follows = group.word.filter(|&word| is_done_by(word, action));
        let online: Vec<_> = group
            .members
            .iter()
            .filter(|(_, member)| member.view.as_ref().is_some_and(|view| view.state == State::Online))
            .map(|(&member, _)| member)
            .collect();
        let primary = match verdict.route {
            Route::To(primary) => Some(primary),
            _ => None,
        };
        let there = primary.and_then(statement).map(|said| said.view.group.clone());
        match action {
            Action::Bootstrap(member) => {
                let Some(order) = order(member) else { return };
                let serves = primary == Some(member);
                let uuid = statement(member).and_then(|said| uuid_for(&said.view, group, &names));
                self.begin(format!("forming the group from {}", pod(member)), follows, async move {
                    told(order.bootstrap(uuid.as_deref(), serves).await)
                });
            }
            Action::Reform(member) => {
                let Some(order) = order(member) else { return };
                self.begin(format!("forming the group anew from {}", pod(member)), follows, async move {
                    told(order.reform().await)
                });
                self.reformed = group.word;
            }
            Action::Join(member) if statement(member).is_some_and(|said| said.view.joined) => {
                let (Some(order), Some(there)) = (order(member), there) else { return };
                self.attempt(member);
                self.begin(format!("letting {} join", pod(member)), follows, async move {
                    told(order.join(&there, &online).await)
                });
            }
            // First what only it has is kept aside; in the next round it is filled.
            Action::Reclone(member) if self.has_to_keep(member, statement(member)) => {
                let Some(order) = order(member) else { return };
                let keeps = statement(member).map(|said| (member, said.view.gtids.clone()));
                let folder = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
                self.begin(format!("keeping aside what {} has", pod(member)), None, async move {
                    told(order.keep_aside(&folder).await)
                });
                if let Some(doing) = &mut self.doing {
                    doing.keeps = keeps;
                }
            }
            // One that was never in the group has what its image brought along, and nothing of the group's.
            Action::Join(member) | Action::Reclone(member) => {
                // From a member that serves nobody's writes, where there is one.
                let donor = online.iter().copied().find(|&other| Some(other) != primary).or(primary);
                let (Some(order), Some(donor), Some(there)) = (order(member), donor, there) else { return };
                let what = format!("filling {} from {}", pod(member), pod(donor));
                self.attempt(member);
                self.begin(what, follows, async move { told(order.copy(&there, donor).await) });
                if let Some(doing) = &mut self.doing {
                    doing.fills = Some(member);
                }
            }
            Action::Leave(member) => {
                let Some(order) = order(member) else { return };
                self.begin(format!("letting {} leave", pod(member)), follows, async move { told(order.leave().await) });
            }
            Action::MakePrimary(member) => {
                let uuid = statement(member).map(|said| said.uuid.clone());
                let (Some(order), Some(uuid)) = (order(member), uuid) else { return };
                self.begin(format!("making {} the primary", pod(member)), follows, async move {
                    told(order.make_primary(&uuid).await)
                });
            }
            Action::Restart(member) => {
                self.replaced = pods.get(&member).and_then(ResourceExt::uid);
                let (api, name) = (Api::<Pod>::namespaced(self.client.clone(), &wanted.namespace()), pod(member));
                // This very Pod, whenever the API server gets to it: its successor was not judged.
                let judged = Preconditions { uid: self.replaced.clone(), resource_version: None };
                let how = DeleteParams { preconditions: Some(judged), ..DeleteParams::default() };
                self.begin(format!("replacing {name}"), follows, async move {
                    let deleted = async {
                        match api.delete(&name, &how).await {
                            // Another Pod has its place already.
                            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                            deleted => deleted.map(|_| ()),
                        }
                    };
                    answered(format!("Pod {name}"), deleted).await
                });
            }
            // The reconcile makes the StatefulSet smaller.
            Action::Remove(_) => {}
        }
    }

    /// Counts an attempt to bring a member back. Nobody gets more than a turn ahead: one that can be helped at last
    /// must not wait for as long as it could not.
    fn attempt(&mut self, member: Ordinal) {
        let attempts = self.attempts.entry(member).or_default();
        *attempts = attempts.saturating_add(1);
        let behind = attempts.saturating_sub(ATTEMPTS);
        self.attempts.values_mut().for_each(|attempts| *attempts = behind.max(*attempts));
    }

    fn begin(
        &mut self,
        what: String,
        follows: Option<Word>,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        tracing::info!(what, "begins");
        self.doing =
            Some(Doing { what, follows, keeps: None, fills: None, task: tokio::spawn(work.in_current_span()) });
    }

    /// Whether what a member has is not kept aside yet.
    fn has_to_keep(&self, member: Ordinal, said: Option<&Statement>) -> bool {
        let kept =
            |said: &Statement| self.kept.as_ref().is_some_and(|(of, gtids)| *of == member && *gtids == said.view.gtids);
        !said.is_some_and(kept)
    }
}

/// Whether an action, once it has ended, is all that a person's word asked for. A group that was formed anew is not:
/// until it is seen to work, the word says that it is the one that counts. Whoever a person wants to be filled joins
/// without any data where an earlier copy was cut off.
fn is_done_by(word: Word, action: Action) -> bool {
    matches!((word, action), (Word::Reclone(member), Action::Reclone(of) | Action::Join(of)) if member == of)
}

/// Under which UUID a member forms the group; `None` where it keeps its own. The one that it holds is of an attempt
/// that led to nothing where it has no transaction of it, and another stack's where its volume was.
fn uuid_for(view: &View, group: &Group, names: &Names) -> Option<String> {
    match (view.foreign && !view.joined, view.has_any_of_its_group()) {
        (true, _) => Some(group.uuid.clone().unwrap_or_else(|| names.group.clone())),
        (false, true) => None,
        (false, false) => group.uuid.clone(),
    }
}

fn told(done: Result<(), crate::mysql::Error>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::super::tests::rounds;
    use super::*;
    use crate::controller::keeper::PATIENCE;
    use crate::group::Condition;

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_deleted_at_once_or_not_and_never_its_successor() {
        let asked = Arc::new(Mutex::new(Value::Null));
        let seen = Arc::clone(&asked);
        let (mut rounds, wanted) = rounds(move |request| {
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                *seen.lock().unwrap() = serde_json::from_slice(&body).unwrap();
                std::future::pending().await
            }
        });
        let pod = serde_json::from_value(json!({"metadata": {"name": "shop-mysql-1", "uid": "judged"}})).unwrap();
        let verdict = Verdict {
            condition: Condition::Healthy,
            route: Route::To(0),
            readers: BTreeSet::new(),
            action: Some(Action::Restart(1)),
            errant: BTreeMap::new(),
            known: BTreeSet::new(),
            joining: None,
            apart: BTreeSet::new(),
        };
        let passwords = Passwords { root: String::new(), operator: String::new() };
        let pods = BTreeMap::from([(1, pod)]);
        rounds.act(&wanted, &pods, &Group::default(), &verdict, &BTreeMap::new(), passwords);
        assert!(rounds.replaces(&pods));
        tokio::time::sleep(PATIENCE + Duration::from_millis(1)).await;
        rounds.finish().await;
        assert_eq!(asked.lock().unwrap()["preconditions"], json!({"uid": "judged"}));
        let told = "replacing shop-mysql-1: Pod shop-mysql-1: no answer within 2 s";
        assert_eq!(rounds.failure.as_deref(), Some(told));
        assert!(!rounds.replaces(&pods), "it is judged anew");
    }

    #[test]
    fn a_volume_of_another_stack_forms_a_group_under_this_ones_uuid() {
        let names = Names { set: String::new(), domain: String::new(), group: "of-this-stack".to_owned() };
        let of = |uuid: &str, joined, foreign| {
            let gtids = "aaaaaaaa-0000-4000-8000-000000000000:1-5".parse().unwrap();
            View {
                state: State::Offline,
                group: uuid.to_owned(),
                sees: Vec::new(),
                gtids,
                joined,
                foreign,
                lags: false,
            }
        };
        let had = "aaaaaaaa-0000-4000-8000-000000000000";
        let known = Group { uuid: Some("known".to_owned()), ..Group::default() };
        let uuid = |view: View, group: &Group| uuid_for(&view, group, &names);
        assert_eq!(uuid(of(had, false, true), &Group::default()).as_deref(), Some("of-this-stack"));
        assert_eq!(uuid(of(had, false, true), &known).as_deref(), Some("known"));
        assert_eq!(uuid(of(had, true, false), &known), None, "it has transactions of the one that it holds");
        assert_eq!(uuid(of("tried", true, false), &known).as_deref(), Some("known"), "an attempt led to nothing");
    }

    #[test]
    fn the_word_by_which_a_group_is_formed_stands_until_the_group_is_seen() {
        assert!(!is_done_by(Word::Survivor(1), Action::Reform(1)));
        let reclone = |action| is_done_by(Word::Reclone(1), action);
        assert!(reclone(Action::Reclone(1)) && reclone(Action::Join(1)) && !reclone(Action::Reclone(2)));
    }
}
