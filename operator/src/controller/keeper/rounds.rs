//! The rounds around one group: ask, judge, lead, act, tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::act::Doing;
use self::ask::Keys;
use super::alone::judge;
use super::{Behind, Failover, News, Report, Told, Wanted};
use crate::controller::cache::Cache;
use crate::controller::storage::Usage;
use crate::group::gtid::GtidSet;
use crate::group::{self, Action, Condition, Group, Member, Ordinal, Route, State, Verdict, Word};
use crate::mysql::Server;

mod act;
mod ask;
mod lead;
mod measure;

pub(super) use self::ask::Met;

/// Between the begins of two rounds.
const PERIOD: Duration = Duration::from_millis(500);

/// The same while not all is well: an election may end at any moment, and writers wait until they are led to its
/// winner.
const PERIOD_OF_TROUBLE: Duration = Duration::from_millis(200);

/// How long trouble is looked at more often: what lasts longer is no election.
const TROUBLE: Duration = Duration::from_secs(60);

/// A keeper's work, and what it remembers from one round to the next: nothing that would not be found out again.
pub(super) struct Rounds {
    client: Client,
    cache: Arc<Cache>,
    wanted: watch::Receiver<Wanted>,
    told: watch::Sender<Option<Result<Report, String>>>,
    news: News,
    servers: BTreeMap<Ordinal, Server>,
    /// Since when members do not answer.
    silent: BTreeMap<Ordinal, Instant>,
    /// Since when not all is well.
    trouble: Option<Instant>,
    keys: Keys,
    /// How many bytes of their volumes members use, as they said last.
    used: BTreeMap<Ordinal, u64>,
    /// They are being asked that.
    measuring: Option<JoinHandle<BTreeMap<Ordinal, u64>>>,
    measure_at: Instant,
    /// How far members were behind when they were compared last.
    behind: BTreeMap<Ordinal, Behind>,
    compare_at: Instant,
    known: Option<BTreeSet<Ordinal>>,
    /// Who was let in, and has not been seen inside.
    joining: Option<Ordinal>,
    /// The UUID of the group that worked last.
    uuid: Option<String>,
    /// The members that were in another group.
    apart: Option<BTreeSet<Ordinal>>,
    /// The members with transactions of their own, as of when the primary was asked last.
    errant: BTreeMap<Ordinal, GtidSet>,
    followed: Option<BTreeSet<Word>>,
    /// Which of them changed nothing.
    needless: BTreeSet<Word>,
    /// By which word the group was formed anew, until it is seen to work.
    reformed: Option<Word>,
    doing: Option<Doing>,
    /// Whose data was kept aside last, with which transactions.
    kept: Option<(Ordinal, GtidSet)>,
    /// Whose data could not be kept aside, until when it is not tried again, and why it could not be.
    not_kept: BTreeMap<Ordinal, (Instant, String)>,
    /// The uid of the Pod that was deleted last.
    replaced: Option<String>,
    failures: u32,
    /// How often each member was let in or filled since it was last seen in the group.
    attempts: BTreeMap<Ordinal, u32>,
    pause_until: Instant,
    failure: Option<String>,
    /// What the API server has refused when clients were led last.
    refused: Vec<String>,
    /// The primary, and when it was seen last.
    seen: Option<(Ordinal, Instant)>,
    failover: Option<Failover>,
}

impl Rounds {
    /// Before the first round.
    pub(super) fn new(
        client: Client,
        cache: Arc<Cache>,
        wanted: watch::Receiver<Wanted>,
        told: watch::Sender<Option<Result<Report, String>>>,
        news: News,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            cache,
            wanted,
            told,
            news,
            servers: BTreeMap::new(),
            silent: BTreeMap::new(),
            trouble: None,
            keys: Keys::default(),
            used: BTreeMap::new(),
            measuring: None,
            measure_at: now,
            behind: BTreeMap::new(),
            compare_at: now,
            known: None,
            joining: None,
            uuid: None,
            apart: None,
            errant: BTreeMap::new(),
            followed: None,
            needless: BTreeSet::new(),
            reformed: None,
            doing: None,
            kept: None,
            not_kept: BTreeMap::new(),
            replaced: None,
            failures: 0,
            attempts: BTreeMap::new(),
            pause_until: now,
            failure: None,
            refused: Vec::new(),
            seen: None,
            failover: None,
        }
    }

    /// Goes round and round until it is dropped.
    pub(super) async fn go_on(mut self) {
        loop {
            let began = Instant::now();
            let wanted = self.wanted.borrow().clone();
            let pause = self.round(&wanted).await.unwrap_or_else(|error| {
                tracing::warn!(error, "a round around the group was not ended");
                PERIOD
            });
            tokio::time::sleep_until(began + pause).await;
        }
    }

    /// One round, and how long after its begin the next one is due.
    async fn round(&mut self, wanted: &Wanted) -> Result<Duration, String> {
        let pods = self.pods(wanted)?;
        let passwords = match self.passwords(wanted).await {
            Ok(Some(passwords)) => passwords,
            Ok(None) => return Ok(PERIOD),
            Err(error) => {
                self.say(Err(error.clone()));
                return Err(error);
            }
        };
        let met = self.ask(wanted, &pods, &passwords).await;
        self.measure(wanted, &met, &passwords).await;
        let group = self.gather(wanted, &pods, &met);
        let verdict = judge(&group, &pods, &met, self.failures);
        self.compare(&verdict, &met);
        let (primary, refused) = self.lead(wanted, &pods, &verdict, &met).await?;
        if self.refused != refused {
            refused.iter().for_each(|refused| tracing::warn!(refused, "clients are not led as they should be"));
            self.refused = refused;
        }
        self.remember(&group, &verdict, &met);
        if primary.is_some() {
            self.time(&verdict, &met);
        }
        // What was judged before an action has ended says nothing of the time after it.
        let busy = self.doing.is_some();
        self.finish().await;
        if !busy && !self.replaces(&pods) && self.pause_until <= Instant::now() {
            self.act(wanted, &pods, &group, &verdict, &met, passwords);
        }
        let calm = verdict.condition == Condition::Healthy && self.silent.is_empty() && self.doing.is_none();
        self.tell(wanted, &group, verdict, primary);
        let trouble = self.trouble.get_or_insert_with(Instant::now).elapsed();
        if calm {
            self.trouble = None;
        }
        Ok(if calm || trouble > TROUBLE { PERIOD } else { PERIOD_OF_TROUBLE })
    }

    fn pods(&self, wanted: &Wanted) -> Result<BTreeMap<Ordinal, Pod>, String> {
        let pods = self.cache.pods(&wanted.stack).map_err(|error| error.to_string())?;
        Ok(pods.into_iter().filter_map(|pod| Some((wanted.names.member(&pod.name_any())?, pod))).collect())
    }

    fn gather(&mut self, wanted: &Wanted, pods: &BTreeMap<Ordinal, Pod>, met: &BTreeMap<Ordinal, Met>) -> Group {
        let members = (0..wanted.instances).chain(pods.keys().copied()).map(|member| {
            let view = met.get(&member).and_then(Met::statement).map(|said| said.view.clone());
            let full = self.usage(wanted, member).is_some_and(Usage::is_low);
            (member, Member { pod: pod_state(pods.get(&member)), view, full })
        });
        let members = members.collect();
        let is_old = |pod: &Pod| wanted.template.as_ref().is_some_and(|template| template.replaces(pod));
        self.not_kept.retain(|_, (until, _)| *until > Instant::now());
        let known = self.known.get_or_insert_with(|| wanted.known()).clone();
        // A word counts once; to have it followed again, a person takes it back and gives it anew.
        let followed = self.followed.get_or_insert_with(|| wanted.followed());
        followed.retain(|word| wanted.words().any(|stands| stands == *word));
        self.needless.retain(|word| followed.contains(word));
        Group {
            wanted: wanted.instances,
            members,
            known,
            kept: wanted.kept.clone(),
            joining: self.joining,
            outdated: pods.iter().filter(|(_, pod)| is_old(pod)).map(|(&member, _)| member).collect(),
            led: lead::led(pods),
            uuid: self.uuid.clone().or_else(|| wanted.uuid()),
            apart: self.apart.get_or_insert_with(|| wanted.apart()).clone(),
            word: wanted.words().find(|word| !followed.contains(word)),
            attempts: self.attempts.clone(),
            paused: self.not_kept.keys().copied().collect(),
            reclone_errant: wanted.stack.spec.mysql.as_ref().is_some_and(|mysql| mysql.reclone_errant),
        }
    }

    /// Takes over what the verdict says, and what follows from it. While a group works, it is no question whose
    /// transactions count, and whoever is in it has none of its own: an answer to that must not wait until it is one.
    fn remember(&mut self, group: &Group, verdict: &Verdict, met: &BTreeMap<Ordinal, Met>) {
        (self.known, self.joining) = (Some(verdict.known.clone()), verdict.joining);
        self.apart = Some(verdict.apart.clone());
        let Route::To(primary) = verdict.route else { return };
        let said = |member: Ordinal| met.get(&member).and_then(Met::statement);
        if let Some(said) = said(primary).filter(|said| said.view.state == State::Online) {
            self.uuid = Some(said.view.group.clone());
            self.errant = verdict.errant.clone();
        }
        let is_inside = |member: Ordinal| said(member).is_some_and(|said| said.view.is_with(primary));
        self.attempts.retain(|member, _| !is_inside(*member));
        let ended = group.word.filter(|word| match word {
            // Of several groups, it is the one that the word names, or the word is of none of them.
            Word::Survivor(member) => is_inside(*member) || !matches!(verdict.condition, Condition::Split(_)),
            Word::Reclone(member) => is_inside(*member),
            Word::Primary(_) => false,
        });
        let reformed = self.reformed.take();
        let is_needless = |word: &Word| {
            let without = || group::classify(&Group { word: None, ..group.clone() }).route;
            reformed != Some(*word) && (verdict.condition == Condition::New || without() == verdict.route)
        };
        self.needless.extend(ended.filter(is_needless));
        self.followed.get_or_insert_default().extend(ended);
    }

    /// Takes the time from when one primary was seen last to when the next one is.
    fn time(&mut self, verdict: &Verdict, met: &BTreeMap<Ordinal, Met>) {
        let Route::To(to) = verdict.route else { return };
        if !matches!(met.get(&to), Some(Met::Answered(_))) {
            return;
        }
        let now = Instant::now();
        if let Some((from, seen)) = self.seen.replace((to, now)).filter(|(from, _)| *from != to) {
            self.failover = Some(Failover { from, to, at: Timestamp::now(), took: now.duration_since(seen) });
        }
    }

    /// Tells what was found out.
    fn tell(&self, wanted: &Wanted, group: &Group, verdict: Verdict, primary: Option<Ordinal>) {
        let member = |(&member, found): (&Ordinal, &Member)| {
            let told = Told {
                state: found.view.as_ref().map(|view| view.state),
                lags: found.view.as_ref().is_some_and(|view| view.lags),
                used: self.usage(wanted, member),
                behind: self.behind.get(&member).copied(),
                inside: matches!(verdict.route, Route::To(primary) if found.view.as_ref().is_some_and(|view| view.is_with(primary))),
                errant: self.errant.get(&member).cloned(),
            };
            (member, told)
        };
        let leaving = match verdict.action {
            Some(Action::Remove(last)) => Some(last),
            _ => None,
        };
        let waits = matches!(
            verdict.condition,
            Condition::NoQuorum | Condition::Outage(_) | Condition::Diverged(_) | Condition::Lost(_)
        );
        let decides = |word: &Word| matches!(word, Word::Survivor(_)) && waits;
        let failures: Vec<_> = self.refused.iter().chain(&self.failure).map(String::as_str).collect();
        let report = Report {
            unheard: group.word.filter(decides).filter(|_| verdict.action.is_none() && self.doing.is_none()),
            wanted: group.wanted,
            primary,
            members: group.members.iter().map(member).collect(),
            known: self.known.clone().unwrap_or_default(),
            uuid: self.uuid.clone(),
            apart: self.apart.clone().unwrap_or_default(),
            outdated: group.outdated.clone(),
            leaving,
            followed: self.followed.clone().unwrap_or_default(),
            needless: self.needless.clone(),
            candidates: group::candidates(group),
            failure: Some(failures.join("; ")).filter(|failures| !failures.is_empty()),
            failover: self.failover.clone(),
            condition: verdict.condition,
        };
        self.say(Ok(report));
    }

    /// Says it where it is new.
    fn say(&self, new: Result<Report, String>) {
        let new = Some(new);
        let is_new = self.told.send_if_modified(|told| {
            let differs = *told != new;
            *told = new;
            differs
        });
        if is_new {
            self.news.tell();
        }
    }
}

fn pod_state(pod: Option<&Pod>) -> group::Pod {
    match pod {
        None => group::Pod::Missing,
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => group::Pod::Terminating,
        Some(pod) if !has_started(pod) => group::Pod::Pending,
        Some(_) => group::Pod::Present,
    }
}

/// Whether a Pod's server runs, or has run.
fn has_started(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter(|status| status.name == "mysql").any(|status| {
        let ran = |state: &Option<ContainerState>| {
            state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        };
        ran(&status.state) || ran(&status.last_state)
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use kube::runtime::reflector::ObjectRef;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::names;

    /// Rounds around a group of three before an API server that answers each request with a status.
    pub(super) fn rounds<F>(answer: impl Fn(Request<Body>) -> F + Clone + Send + 'static) -> (Rounds, Wanted)
    where
        F: Future<Output = u16> + Send + 'static,
    {
        let document = json!({"apiVersion": "tandem.dev/v1alpha1", "kind": "WebStack",
            "metadata": {"name": "shop", "namespace": "default"}, "spec": {"mysql": {"instances": 3}}});
        let stack = Arc::new(serde_json::from_value(document).unwrap());
        let names = names::group(&stack, "cluster.local");
        let (capacities, kept) = (BTreeMap::new(), BTreeSet::new());
        let wanted = Wanted { stack, names, instances: 3, kept, capacities, template: None };
        let service = tower::service_fn(move |request: Request<Body>| {
            let code = answer(request);
            async move {
                let code = code.await;
                let status = json!({"kind": "Status", "status": "Failure", "message": "a fault", "code": code});
                Ok::<_, Infallible>(
                    Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).unwrap(),
                )
            }
        });
        let client = Client::new(service, "default");
        let (news, _) = tokio::sync::mpsc::unbounded_channel();
        let (told, _) = watch::channel(None);
        let (_, receiver) = watch::channel(wanted.clone());
        let news = News(news, ObjectRef::from_obj(&*wanted.stack));
        (Rounds::new(client, Arc::default(), receiver, told, news), wanted)
    }

    #[rstest]
    #[case::not_scheduled_yet(json!([]), group::Pod::Pending)]
    #[case::its_image_is_fetched(json!([{"name": "mysql", "state": {"waiting": {}}}]), group::Pod::Pending)]
    #[case::only_another_container_runs(
        json!([{"name": "mesh", "state": {"running": {}}}, {"name": "mysql", "state": {"waiting": {}}}]),
        group::Pod::Pending
    )]
    #[case::it_runs_and_another_container_does_not(
        json!([{"name": "mysql", "state": {"running": {}}}, {"name": "mesh", "state": {"waiting": {}}}]),
        group::Pod::Present
    )]
    #[case::it_has_crashed_and_waits_for_its_next_start(
        json!([{"name": "mysql", "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}]),
        group::Pod::Present
    )]
    fn a_pod_is_pending_until_its_server_has_been_started(#[case] mut statuses: Value, #[case] expected: group::Pod) {
        for status in statuses.as_array_mut().into_iter().flatten() {
            for (field, value) in
                [("image", json!("")), ("imageID", json!("")), ("ready", json!(false)), ("restartCount", json!(0))]
            {
                status[field] = value;
            }
        }
        let status = json!({"containerStatuses": statuses});
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        assert_eq!(pod_state(Some(&pod)), expected);
        pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-31T12:00:00Z".parse().unwrap()));
        assert_eq!(pod_state(Some(&pod)), group::Pod::Terminating);
    }
}
