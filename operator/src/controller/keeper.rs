//! Keeps groups together. For each stack whose database is a group, a task goes round and round: it asks every member how
//! it stands, lets [`classify`] judge, leads clients by the Pods' labels, and has the one action carried out that is due.
//! What it found is told to the stack's reconcile, which reports it.
//!
//! A round takes no longer than a member may stay silent, or a moment more than most of them need, and no stack waits for
//! another one's members. An action runs beside the rounds, one at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::controller::apply::words;
use crate::controller::backoff;
use crate::controller::build::Surroundings;
use crate::controller::cache::Cache;
use crate::controller::observe::Observed;
use crate::controller::storage::{self, Usage};
use crate::crd::WebStack;
use crate::group::gtid::GtidSet;
use crate::group::{self, Action, Condition, Group, Member, Ordinal, Route, State, Verdict, Word, classify};
use crate::mysql::{Names, Order, Passwords, Server, Statement};
use crate::names::{self, FUTURE_GROUP, GROUP, IN_GROUP, OPERATOR, READS, ROLE};

/// Between the begins of two rounds.
const PERIOD: Duration = Duration::from_millis(500);

/// How long the others are waited for once most members have answered. One that is frozen must not delay what they know.
const LATE: Duration = Duration::from_millis(250);

/// After so many rounds in which a member stayed silent, nobody is led to it any more for reads. One that is known to be
/// away is left at once.
const SILENT: u32 = 2;

/// How often a server that runs alone is told to form the group as it is, before it is replaced instead.
const ATTEMPTS: u32 = 3;

/// The longest pause after an action that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The pause after a member's data could not be kept aside: each attempt leaves an empty folder.
const PAUSE_OF_COPIES: Duration = Duration::from_secs(300);

/// Between two questions to members how much of their volumes they use.
const MEASURE: Duration = Duration::from_secs(30);

/// Between two comparisons of the members with the primary. What they tell moves with every transaction, and each time
/// the status is written.
const COMPARE: Duration = Duration::from_secs(10);

/// Between two times when the passwords are read.
const READ_AGAIN: Duration = Duration::from_secs(3);

/// What a keeper has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many members were wanted when it was found out.
    pub wanted: u32,
    /// How the group stands.
    pub condition: Condition,
    /// Where writes are led.
    pub primary: Option<Ordinal>,
    /// Every member, with what it says.
    pub members: BTreeMap<Ordinal, Told>,
    /// Who was in the group when it was last seen to work.
    pub known: BTreeSet<Ordinal>,
    /// Members whose Pods wait for being replaced.
    pub outdated: BTreeSet<Ordinal>,
    /// The last member, where there are more than wanted and it has left the group: its Pod may go.
    pub leaving: Option<Ordinal>,
    /// The word of a person that was followed.
    pub followed: Option<Word>,
    /// What could not be done, in words.
    pub failure: Option<String>,
    /// When writes were led to another member last, as far as this keeper has seen it.
    pub failover: Option<Failover>,
}

/// Writes were led from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Who took them before.
    pub from: Ordinal,
    /// Who takes them now.
    pub to: Ordinal,
    /// Since when.
    pub at: Timestamp,
    /// How long after the other one was last seen to be the primary.
    pub took: Duration,
}

/// What is told of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its own state; `None` where it does not answer.
    pub state: Option<State>,
    /// Whether it is too far behind to be read from.
    pub lags: bool,
    /// How much of its volume it uses, where it has said so.
    pub used: Option<Usage>,
    /// How far it was behind the primary when they were compared last.
    pub behind: Option<Behind>,
    /// The transactions that only it has.
    pub errant: GtidSet,
}

/// How far a member is behind the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// How long ago the transaction was committed that it applies, in whole seconds.
    pub seconds: u64,
    /// How many of the primary's transactions it has not applied.
    pub transactions: u64,
}

/// What a keeper has to know of its stack.
#[derive(Clone, Debug)]
struct Wanted {
    stack: Arc<WebStack>,
    names: Names,
    instances: u32,
    /// What the members' volumes can hold.
    capacities: BTreeMap<Ordinal, u128>,
    /// The Pods' newest version, where the StatefulSet has one for its newest spec.
    revision: Option<String>,
}

impl Wanted {
    fn of(observed: &Observed, around: &Surroundings) -> Option<Self> {
        let instances = u32::try_from(observed.stack.spec.mysql.as_ref()?.instances).ok()?;
        let set = observed.stateful_set();
        let status = set.and_then(|set| set.status.as_ref());
        let current =
            set.and_then(|set| set.metadata.generation) == status.and_then(|status| status.observed_generation);
        Some(Self {
            stack: Arc::clone(&observed.stack),
            names: names::group(&observed.stack, &around.cluster_domain),
            instances,
            capacities: storage::capacities(observed),
            revision: status.and_then(|status| status.update_revision.clone()).filter(|_| current),
        })
    }

    fn namespace(&self) -> String {
        self.stack.namespace().unwrap_or_default()
    }

    /// What a person has decided, as the stack's annotations say.
    fn word(&self) -> Option<Word> {
        let named = |annotation| self.names.member(self.stack.annotations().get(annotation)?);
        let survivor = named(names::SURVIVOR).map(Word::Survivor);
        survivor
            .or_else(|| named(names::RECLONE).map(Word::Reclone))
            .or_else(|| named(names::PREFERRED).map(Word::Primary))
    }

    /// Who was in the group, as the status says.
    fn known(&self) -> BTreeSet<Ordinal> {
        let status = self.stack.status.as_ref().and_then(|status| status.mysql.as_ref());
        status.iter().flat_map(|status| &status.known).filter_map(|pod| self.names.member(pod)).collect()
    }

    fn followed(&self) -> Option<Word> {
        let followed = self.stack.status.as_ref()?.mysql.as_ref()?.followed.as_ref()?;
        let (annotation, pod) = followed.split_once('=')?;
        let member = self.names.member(pod)?;
        match annotation {
            names::SURVIVOR => Some(Word::Survivor(member)),
            names::RECLONE => Some(Word::Reclone(member)),
            _ => None,
        }
    }
}

/// The keepers of all stacks that need one.
pub struct Groups {
    client: Client,
    cache: Arc<Cache>,
    around: Surroundings,
    keepers: Mutex<HashMap<ObjectRef<WebStack>, Keeper>>,
    news: mpsc::UnboundedSender<ObjectRef<WebStack>>,
}

struct Keeper {
    uid: Option<String>,
    wanted: watch::Sender<Wanted>,
    report: watch::Receiver<Option<Report>>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Groups {
    /// No keeper yet, and the stream of the stacks whose keepers have news.
    pub fn new(
        client: Client,
        cache: Arc<Cache>,
        around: Surroundings,
    ) -> (Self, impl Stream<Item = ObjectRef<WebStack>> + Send + use<>) {
        let (news, told) = mpsc::unbounded_channel();
        let told = stream::unfold(told, async |mut told| Some((told.recv().await?, told)));
        (Self { client, cache, around, keepers: Mutex::default(), news }, told)
    }

    fn keepers(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<WebStack>, Keeper>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the stack's keeper has told last.
    pub fn report(&self, stack: &WebStack) -> Option<Report> {
        let keepers = self.keepers();
        let keeper = keepers.get(&ObjectRef::from_obj(stack)).filter(|keeper| keeper.uid == stack.uid())?;
        keeper.report.borrow().clone()
    }

    /// Lets a keeper work where the database is a group, with what is wanted now, and nobody elsewhere.
    pub fn keep(&self, observed: &Observed) {
        let reference = ObjectRef::from_obj(&*observed.stack);
        let needed = observed.is_group() && !observed.stack.spec.suspend;
        let Some(wanted) = Wanted::of(observed, &self.around).filter(|_| needed) else {
            return self.forget(&reference);
        };
        let uid = observed.stack.uid();
        let mut keepers = self.keepers();
        match keepers.get(&reference).filter(|keeper| keeper.uid == uid && !keeper.task.is_finished()) {
            Some(keeper) => {
                keeper.wanted.send_replace(wanted);
            }
            None => {
                let (sender, receiver) = watch::channel(wanted);
                let (told, report) = watch::channel(None);
                let rounds = Rounds {
                    client: self.client.clone(),
                    cache: Arc::clone(&self.cache),
                    wanted: receiver,
                    told,
                    news: (self.news.clone(), reference.clone()),
                    servers: BTreeMap::new(),
                    silent: BTreeMap::new(),
                    keys: Keys::default(),
                    used: BTreeMap::new(),
                    measuring: None,
                    measure_at: Instant::now(),
                    behind: BTreeMap::new(),
                    compare_at: Instant::now(),
                    known: None,
                    followed: None,
                    doing: None,
                    kept: None,
                    not_kept: None,
                    replaced: None,
                    failures: 0,
                    pause_until: Instant::now(),
                    failure: None,
                    seen: None,
                    failover: None,
                };
                let task = tokio::spawn(rounds.go_on());
                keepers.insert(reference, Keeper { uid, wanted: sender, report, task });
            }
        }
    }

    /// Ends the work of a stack's keeper.
    pub fn forget(&self, stack: &ObjectRef<WebStack>) {
        self.keepers().remove(stack);
    }
}

/// The passwords, as they were read last.
#[derive(Default)]
struct Keys {
    passwords: Option<Passwords>,
    /// Whether a server has taken neither of them since: somebody may have made new ones.
    refused: bool,
    read: Option<Instant>,
}

impl Keys {
    /// Whether it is time to read them: there are none, or they are refused. A server may go on refusing them.
    fn are_due(&self, now: Instant) -> bool {
        let needed = self.passwords.is_none() || self.refused;
        needed && self.read.is_none_or(|read| now.duration_since(read) >= READ_AGAIN)
    }
}

/// How a member met a question.
enum Met {
    Answered(Box<Statement>),
    Away,
    /// It takes none of the passwords.
    Refused,
    Silent,
}

impl Met {
    fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Answered(statement) => Some(statement),
            Self::Away | Self::Refused | Self::Silent => None,
        }
    }
}

/// Something that is being done.
struct Doing {
    what: String,
    follows: Option<Word>,
    /// Whose data is kept aside, and which transactions that are.
    keeps: Option<(Ordinal, GtidSet)>,
    task: JoinHandle<Result<(), String>>,
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A keeper's work, and what it remembers from one round to the next: nothing that would not be found out again.
struct Rounds {
    client: Client,
    cache: Arc<Cache>,
    wanted: watch::Receiver<Wanted>,
    told: watch::Sender<Option<Report>>,
    news: (mpsc::UnboundedSender<ObjectRef<WebStack>>, ObjectRef<WebStack>),
    servers: BTreeMap<Ordinal, Server>,
    /// In how many rounds in a row members did not answer.
    silent: BTreeMap<Ordinal, u32>,
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
    followed: Option<Word>,
    doing: Option<Doing>,
    /// Whose data was kept aside last, with which transactions.
    kept: Option<(Ordinal, GtidSet)>,
    /// Until when no data is kept aside again, and why it could not be.
    not_kept: Option<(Instant, String)>,
    /// The uid of the Pod that was deleted last.
    replaced: Option<String>,
    failures: u32,
    pause_until: Instant,
    failure: Option<String>,
    /// The primary, and when it was seen last.
    seen: Option<(Ordinal, Instant)>,
    failover: Option<Failover>,
}

impl Rounds {
    async fn go_on(mut self) {
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let wanted = self.wanted.borrow().clone();
            if let Err(error) = self.round(&wanted).await {
                let (namespace, name) = (wanted.namespace(), wanted.stack.name_any());
                tracing::warn!(namespace, name, error, "a round around the group was not ended");
            }
        }
    }

    async fn round(&mut self, wanted: &Wanted) -> Result<(), String> {
        let pods = self.pods(wanted)?;
        let Some(passwords) = self.passwords(wanted).await? else { return Ok(()) };
        let met = self.ask(wanted, &pods, &passwords).await;
        self.measure(wanted, &met, &passwords).await;
        let group = self.gather(wanted, &pods, &met);
        let verdict = judge(&group, &pods, &met, self.failures);
        self.compare(&verdict, &met);
        let primary = self.lead(wanted, &pods, &verdict, &met).await?;
        self.remember(&group, &verdict);
        self.time(&verdict, &met);
        // What was judged before an action has ended says nothing of the time after it.
        let busy = self.doing.is_some();
        self.finish().await;
        if !busy && !self.replaces(&pods) && self.pause_until <= Instant::now() {
            self.act(wanted, &pods, &group, &verdict, &met, passwords);
        }
        self.tell(wanted, &group, verdict, primary);
        Ok(())
    }

    fn pods(&self, wanted: &Wanted) -> Result<BTreeMap<Ordinal, Pod>, String> {
        let pods = self.cache.pods(&wanted.stack).map_err(|error| error.to_string())?;
        Ok(pods.into_iter().filter_map(|pod| Some((wanted.names.member(&pod.name_any())?, pod))).collect())
    }

    /// The passwords; `None` while there are none.
    async fn passwords(&mut self, wanted: &Wanted) -> Result<Option<Passwords>, String> {
        let now = Instant::now();
        if self.keys.are_due(now) {
            (self.keys.read, self.keys.refused) = (Some(now), false);
            // Those that there are may still open the other servers.
            if let Some(passwords) = self.read_passwords(wanted).await? {
                self.keys.passwords = Some(passwords);
            }
        }
        Ok(self.keys.passwords.clone())
    }

    async fn read_passwords(&self, wanted: &Wanted) -> Result<Option<Passwords>, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &wanted.namespace());
        let read = async |name: String, key: &str| {
            let secret = api.get_opt(&name).await.map_err(|error| words(&error))?;
            let value = secret.and_then(|secret| secret.data?.remove(key));
            value.map(|value| String::from_utf8(value.0).map_err(|error| error.to_string())).transpose()
        };
        let root = read(names::credentials(&wanted.stack), names::ROOT_PASSWORD).await?;
        let operator = read(names::group_secret(&wanted.stack), names::PASSWORD).await?;
        // It becomes part of statements.
        let operator = operator.filter(|password| password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        Ok(root.zip(operator).map(|(root, operator)| Passwords { root, operator }))
    }

    /// Asks every member at once.
    async fn ask(
        &mut self,
        wanted: &Wanted,
        pods: &BTreeMap<Ordinal, Pod>,
        passwords: &Passwords,
    ) -> BTreeMap<Ordinal, Met> {
        // A Pod that earlier versions of the operator have made to run alone knows neither a group nor the operator's account.
        let members = pods.iter().filter(|(_, pod)| knows_group(pod));
        let addresses: BTreeMap<_, _> = members.filter_map(|(&member, pod)| Some((member, address(pod)?))).collect();
        self.servers.retain(|member, server| addresses.get(member).is_some_and(|address| address == server.address()));
        for (&member, address) in &addresses {
            self.servers.entry(member).or_insert_with(|| Server::at(address));
        }
        let ask =
            async |(&member, server): (&Ordinal, &mut Server)| (member, server.ask(&wanted.names, passwords).await);
        let mut asked: FuturesUnordered<_> = self.servers.iter_mut().map(ask).collect();
        let (all, mut answered) = (asked.len(), 0);
        let mut end = None;
        let mut met: BTreeMap<_, _> = addresses.keys().map(|&member| (member, Met::Silent)).collect();
        while let Some((member, answer)) = before(end, asked.next()).await {
            let how = match answer {
                Ok(statement) => {
                    answered += 1;
                    Met::Answered(Box::new(statement))
                }
                Err(error) => {
                    tracing::debug!(member, %error, "a member did not say how it stands");
                    // Somebody may have made new ones.
                    self.keys.refused |= error.is_access_denied();
                    match (error.is_away(), error.is_access_denied()) {
                        (true, _) => Met::Away,
                        (_, true) => Met::Refused,
                        _ => Met::Silent,
                    }
                }
            };
            met.insert(member, how);
            if end.is_none() && answered * 2 > all {
                end = Some(Instant::now() + LATE);
            }
        }
        drop(asked);
        let says_nothing = |met: &Met| matches!(met, Met::Silent | Met::Refused);
        self.silent.retain(|member, _| met.get(member).is_some_and(says_nothing));
        for member in met.iter().filter(|(_, met)| says_nothing(met)).map(|(&member, _)| member) {
            *self.silent.entry(member).or_default() += 1;
        }
        met
    }

    /// Has members asked how much of their volumes they use, now and then, and beside the rounds: it may take them a while.
    async fn measure(&mut self, wanted: &Wanted, met: &BTreeMap<Ordinal, Met>, passwords: &Passwords) {
        if let Some(task) = self.measuring.take_if(|task| task.is_finished()) {
            self.used.extend(task.await.unwrap_or_default());
        }
        self.used.retain(|member, _| wanted.capacities.contains_key(member));
        let answering = |member: &Ordinal| matches!(met.get(member), Some(Met::Answered(_)));
        let members = self.servers.iter().filter(|(member, _)| answering(member));
        let order = |address: &str| Order {
            address: address.to_owned(),
            names: wanted.names.clone(),
            passwords: passwords.clone(),
            alone: false,
        };
        let members: Vec<_> = members.map(|(&member, server)| (member, order(server.address()))).collect();
        if self.measuring.is_some() || self.measure_at > Instant::now() || members.is_empty() {
            return;
        }
        self.measure_at = Instant::now() + MEASURE;
        self.measuring = Some(tokio::spawn(async move {
            let asked = members.iter().map(async |(member, order)| match order.used().await {
                Ok(used) => Some((*member, used)),
                Err(error) => {
                    tracing::debug!(member, %error, "a member did not say how much of its volume it uses");
                    None
                }
            });
            future::join_all(asked).await.into_iter().flatten().collect()
        }));
    }

    fn usage(&self, wanted: &Wanted, member: Ordinal) -> Option<Usage> {
        Usage::of(*self.used.get(&member)?, *wanted.capacities.get(&member)?)
    }

    /// Compares the members with the primary, now and then.
    fn compare(&mut self, verdict: &Verdict, met: &BTreeMap<Ordinal, Met>) {
        let primary = match verdict.route {
            Route::To(member) => met.get(&member).and_then(Met::statement).map(|said| (member, said)),
            Route::Keep | Route::Nobody => None,
        };
        let Some((primary, of_primary)) = primary else { return self.behind.clear() };
        self.behind.retain(|member, _| *member != primary && met.contains_key(member));
        if self.compare_at > Instant::now() {
            return;
        }
        self.compare_at = Instant::now() + COMPARE;
        let others = met.iter().filter(|(member, _)| **member != primary);
        let others = others.filter_map(|(&member, met)| Some((member, met.statement()?)));
        let behind = |said: &Statement| Behind {
            seconds: said.lag,
            transactions: of_primary.applied.minus(&said.applied).count(),
        };
        self.behind = others.map(|(member, said)| (member, behind(said))).collect();
    }

    fn gather(&mut self, wanted: &Wanted, pods: &BTreeMap<Ordinal, Pod>, met: &BTreeMap<Ordinal, Met>) -> Group {
        let members = (0..wanted.instances).chain(pods.keys().copied()).map(|member| {
            let view = met.get(&member).and_then(Met::statement).map(|said| said.view.clone());
            let full = self.usage(wanted, member).is_some_and(Usage::is_low);
            (member, Member { pod: pod_state(pods.get(&member)), view, full })
        });
        let members = members.collect();
        let is_old = |pod: &Pod| {
            let hash = pod.labels().get("controller-revision-hash");
            wanted.revision.as_ref().is_some_and(|revision| hash.is_some_and(|hash| hash != revision))
        };
        let known = self.known.get_or_insert_with(|| wanted.known()).clone();
        // A word counts once; to have it followed again, a person takes it back and gives it anew.
        self.followed = self.followed.or_else(|| wanted.followed()).filter(|_| wanted.word().is_some());
        Group {
            wanted: wanted.instances,
            members,
            known,
            outdated: pods.iter().filter(|(_, pod)| is_old(pod)).map(|(&member, _)| member).collect(),
            word: wanted.word().filter(|word| self.followed != Some(*word)),
            reclone_errant: wanted.stack.spec.mysql.as_ref().is_some_and(|mysql| mysql.reclone_errant),
        }
    }

    /// Who is in a group that works, is known from now on; who is not wanted any more and gone, is forgotten.
    fn remember(&mut self, group: &Group, verdict: &Verdict) {
        let known = self.known.get_or_insert_default();
        if matches!(verdict.route, Route::To(_)) {
            let inside = |member: &Member| member.view.as_ref().is_some_and(|view| view.state.votes());
            known.extend(group.members.iter().filter(|(_, member)| inside(member)).map(|(&member, _)| member));
        }
        if verdict.condition == Condition::Healthy {
            known.retain(|member| *member < group.wanted || group.members.contains_key(member));
        }
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

    /// Labels the Pods, and says where writes go then.
    async fn lead(
        &self,
        wanted: &Wanted,
        pods: &BTreeMap<Ordinal, Pod>,
        verdict: &Verdict,
        met: &BTreeMap<Ordinal, Met>,
    ) -> Result<Option<Ordinal>, String> {
        let led = |pod: &Pod, label: &str, value: &str| pod.labels().get(label).is_some_and(|there| there == value);
        let now = |label: &'static str, value: &'static str| {
            pods.iter().filter(move |(_, pod)| led(pod, label, value)).map(|(&member, _)| member)
        };
        let primary = match verdict.route {
            Route::Keep => now(ROLE, "primary").next(),
            Route::Nobody => None,
            Route::To(member) => Some(member),
        };
        let answers = |member: &Ordinal| match met.get(member) {
            Some(Met::Answered(_)) => true,
            Some(Met::Away) | None => false,
            Some(Met::Silent | Met::Refused) => self.silent.get(member).is_none_or(|rounds| *rounds < SILENT),
        };
        let may_read: BTreeSet<_> = match verdict.route {
            Route::Keep => now(READS, "true").collect(),
            Route::Nobody => BTreeSet::new(),
            Route::To(_) => verdict.readers.clone(),
        };
        let mut readers: BTreeSet<_> = may_read.iter().copied().filter(answers).collect();
        if readers.is_empty() {
            readers = primary.into_iter().collect();
        }
        let in_group = |member: &Ordinal| {
            met.get(member).and_then(Met::statement).is_some_and(|said| said.view.state == State::Online)
        };
        let patches = pods.iter().filter_map(|(member, pod)| {
            let role = match verdict.route {
                _ if primary == Some(*member) => Some("primary"),
                Route::To(_) if in_group(member) => Some("replica"),
                Route::Keep => pod.labels().get(ROLE).map(String::as_str),
                _ => None,
            };
            let reads = readers.contains(member).then_some("true");
            let there = |label: &str| pod.labels().get(label).map(String::as_str);
            (there(ROLE) != role || there(READS) != reads).then(|| (pod.name_any(), role, reads))
        });
        let namespace = wanted.namespace();
        let patched = patches.map(|(pod, role, reads)| {
            tracing::info!(namespace, pod, role, reads, "clients are led anew");
            label(&self.client, &namespace, pod, role, reads)
        });
        let gates = pods.iter().filter_map(|(member, pod)| {
            let inside = match (&verdict.route, &verdict.condition) {
                (Route::Keep, _) => return None,
                (Route::Nobody, _) => false,
                (Route::To(_), Condition::Degraded(missing)) => !missing.contains(member),
                (Route::To(_), _) => in_group(member),
            };
            (is_member(pod) && is_in_group(pod) != inside)
                .then(|| pod.name_any())
                .map(|pod| admit(&self.client, &namespace, pod, inside))
        });
        let done = future::try_join(future::try_join_all(patched), future::try_join_all(gates));
        done.await.map_err(|error| words(&error))?;
        Ok(primary)
    }

    /// Takes in how the last action has ended, if it has.
    async fn finish(&mut self) {
        let Some(mut doing) = self.doing.take_if(|doing| doing.task.is_finished()) else { return };
        let done = (&mut doing.task).await.unwrap_or_else(|error| Err(error.to_string()));
        match done {
            Ok(()) => {
                tracing::info!(what = doing.what, "done");
                (self.failures, self.failure) = (0, None);
                if doing.follows.is_some() {
                    self.followed = doing.follows;
                }
                if doing.keeps.is_some() {
                    self.kept = doing.keeps.take();
                }
            }
            Err(error) => {
                self.replaced = None;
                tracing::warn!(what = doing.what, error, "not done");
                self.failures = self.failures.saturating_add(1);
                self.pause_until = Instant::now() + backoff::pause(self.failures, &doing.what).min(LONGEST_PAUSE);
                let failure = format!("{}: {error}", doing.what);
                if doing.keeps.is_some() {
                    self.not_kept = Some((Instant::now() + PAUSE_OF_COPIES, failure.clone()));
                }
                self.failure = Some(failure);
            }
        }
    }

    /// Whether a Pod that was deleted is there as if it were not: the watches are behind by a moment.
    fn replaces(&mut self, pods: &BTreeMap<Ordinal, Pod>) -> bool {
        let stands = |uid: &String| {
            pods.values().any(|pod| pod.uid().as_ref() == Some(uid) && pod.metadata.deletion_timestamp.is_none())
        };
        self.replaced = self.replaced.take().filter(stands);
        self.replaced.is_some()
    }

    /// Begins what is due.
    fn act(
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
        // The group's first transaction: whoever has it was in the group.
        let unmarked = match verdict.route {
            Route::To(primary) => {
                statement(primary).filter(|said| said.view.state == State::Online && !said.view.joined).map(|_| primary)
            }
            _ => None,
        };
        if let Some(primary) = unmarked {
            let Some(order) = order(primary) else { return };
            return self.begin(format!("marking the group through {}", pod(primary)), None, async move {
                told(order.mark().await)
            });
        }
        let Some(action) = verdict.action else {
            self.failure = None;
            return;
        };
        let follows = match (group.word, action) {
            (Some(Word::Survivor(member)), Action::Bootstrap(of)) if member == of => group.word,
            (Some(Word::Reclone(member)), Action::Reclone(of)) if member == of => group.word,
            _ => None,
        };
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
        match action {
            Action::Bootstrap(member) => {
                let Some(order) = order(member) else { return };
                let serves = primary == Some(member);
                self.begin(format!("forming the group from {}", pod(member)), follows, async move {
                    told(if serves { order.bootstrap_alone().await } else { order.bootstrap().await })
                });
            }
            Action::Join(member) if statement(member).is_some_and(|said| said.view.joined) => {
                let Some(order) = order(member) else { return };
                self.begin(
                    format!("letting {} join", pod(member)),
                    follows,
                    async move { told(order.join(&online).await) },
                );
            }
            // First what only it has is kept aside; in the next round it is filled.
            Action::Reclone(member) if self.has_to_keep(member, statement(member)) => {
                self.not_kept.take_if(|(until, _)| *until <= Instant::now());
                if let Some((_, failure)) = &self.not_kept {
                    self.failure = Some(failure.clone());
                    return;
                }
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
                let (Some(order), Some(donor)) = (order(member), donor) else { return };
                let what = format!("filling {} from {}", pod(member), pod(donor));
                self.begin(what, follows, async move { told(order.copy(donor).await) });
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
                self.begin(format!("replacing {name}"), follows, async move {
                    api.delete(&name, &DeleteParams::default()).await.map(|_| ()).map_err(|error| words(&error))
                });
            }
            // The reconcile makes the StatefulSet smaller.
            Action::Remove(_) => {}
        }
    }

    fn begin(
        &mut self,
        what: String,
        follows: Option<Word>,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        tracing::info!(what, "begins");
        self.doing = Some(Doing { what, follows, keeps: None, task: tokio::spawn(work) });
    }

    /// Whether what a member has is not kept aside yet.
    fn has_to_keep(&self, member: Ordinal, said: Option<&Statement>) -> bool {
        let kept =
            |said: &Statement| self.kept.as_ref().is_some_and(|(of, gtids)| *of == member && *gtids == said.view.gtids);
        !said.is_some_and(kept)
    }

    /// Tells what was found out, where it is new.
    fn tell(&self, wanted: &Wanted, group: &Group, verdict: Verdict, primary: Option<Ordinal>) {
        let member = |(&member, found): (&Ordinal, &Member)| {
            let told = Told {
                state: found.view.as_ref().map(|view| view.state),
                lags: found.view.as_ref().is_some_and(|view| view.lags),
                used: self.usage(wanted, member),
                behind: self.behind.get(&member).copied(),
                errant: verdict.errant.get(&member).cloned().unwrap_or_default(),
            };
            (member, told)
        };
        let leaving = match verdict.action {
            Some(Action::Remove(last)) => Some(last),
            _ => None,
        };
        let report = Report {
            wanted: group.wanted,
            primary,
            members: group.members.iter().map(member).collect(),
            known: self.known.clone().unwrap_or_default(),
            outdated: group.outdated.clone(),
            leaving,
            followed: self.followed,
            failure: self.failure.clone(),
            failover: self.failover.clone(),
            condition: verdict.condition,
        };
        let changed = self.told.send_if_modified(|told| {
            let new = told.as_ref() != Some(&report);
            if new {
                *told = Some(report);
            }
            new
        });
        // Nobody listens any more when the operator ends.
        if changed {
            drop(self.news.0.send(self.news.1.clone()));
        }
    }
}

/// The verdict, and what the group's own rules do not know of: a Pod that still runs alone, from before there was a group,
/// goes on serving until all others are there, and then forms the group as it runs. Where it cannot, it is replaced by one
/// that can.
fn judge(group: &Group, pods: &BTreeMap<Ordinal, Pod>, met: &BTreeMap<Ordinal, Met>, failures: u32) -> Verdict {
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
    }
}

fn told(done: Result<(), crate::mysql::Error>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}

/// What comes before that time, if there is a limit.
async fn before<T>(end: Option<Instant>, next: impl Future<Output = Option<T>>) -> Option<T> {
    match end {
        Some(end) => tokio::time::timeout_at(end, next).await.ok().flatten(),
        None => next.await,
    }
}

/// Whether a Pod was made with a group's settings, be it for a server that runs alone so far.
fn knows_group(pod: &Pod) -> bool {
    is_member(pod) || pod.annotations().contains_key(FUTURE_GROUP)
}

/// Whether a Pod was made as a group's member: it does not serve by itself.
pub(super) fn is_member(pod: &Pod) -> bool {
    pod.annotations().contains_key(GROUP)
}

fn is_in_group(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == IN_GROUP && condition.status == "True")
}

fn address(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone()
}

fn pod_state(pod: Option<&Pod>) -> group::Pod {
    match pod {
        None => group::Pod::Missing,
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => group::Pod::Terminating,
        Some(_) => group::Pod::Present,
    }
}

/// Says of a Pod what clients may do with it.
///
/// # Errors
/// The API server refuses. A Pod that has gone is no error.
pub async fn label(
    client: &Client,
    namespace: &str,
    pod: String,
    role: Option<&str>,
    reads: Option<&str>,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let how = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"labels": {ROLE: role, READS: reads}}}));
    gone_is_fine(api.patch_metadata(&pod, &how, &patch).await)
}

/// Says of a Pod whether it is in its group, without which it is not ready.
///
/// # Errors
/// The API server refuses. A Pod that has gone is no error.
pub async fn admit(client: &Client, namespace: &str, pod: String, inside: bool) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let how = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
    let status = if inside { "True" } else { "False" };
    // Strategic: of the list of conditions, this one alone.
    let condition = json!({"type": IN_GROUP, "status": status, "lastTransitionTime": Timestamp::now()});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    gone_is_fine(api.patch_status(&pod, &how, &patch).await)
}

fn gone_is_fine<T>(patched: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match patched {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        patched => patched.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_read_again_when_they_are_refused_and_not_in_every_round() {
        let now = Instant::now();
        let mut keys = Keys::default();
        assert!(keys.are_due(now), "there are none");
        keys.read = Some(now);
        assert!(!keys.are_due(now + PERIOD), "there are none yet");
        assert!(keys.are_due(now + READ_AGAIN));
        keys.passwords = Some(Passwords { root: "a".to_owned(), operator: "b".to_owned() });
        assert!(!keys.are_due(now + READ_AGAIN), "they are of use");
        keys.refused = true;
        assert!(!keys.are_due(now + PERIOD), "they were read a moment ago");
        assert!(keys.are_due(now + READ_AGAIN));
    }

    fn pod(annotations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
    }

    fn says(state: State, capable: bool) -> Met {
        let seen = group::Seen { member: Some(0), state, primary: true };
        let sees = if state.votes() { vec![seen] } else { Vec::new() };
        let view = group::View { state, sees, gtids: GtidSet::default(), joined: false, lags: false };
        let gtids = GtidSet::default();
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
