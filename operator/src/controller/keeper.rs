//! Keeps groups together. For each stack whose database is a group, a task goes round and round: it asks every member
//! how it stands, lets [`crate::group::classify`] judge, leads clients by the Pods' labels, and has the one action
//! carried out that is due. What it found is told to the stack's reconcile, which reports it.
//!
//! A round takes no longer than a member may stay silent, or a moment more than most of them need, and no stack waits
//! for another one's members. Nor is the API server waited for: what it has not done within two seconds is judged anew.
//! An action runs beside the rounds, one at a time.
//!
//! A server that runs alone needs no such care: of it, only the volume is measured.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::controller::apply::words;
use crate::controller::build::Surroundings;
use crate::controller::cache::Cache;
use crate::controller::observe::{Observed, Template};
use crate::controller::storage::{self, Usage};
use crate::crd::{MysqlStatus, WebStack};
use crate::group::gtid::GtidSet;
use crate::group::{Condition, Ordinal, State, Word};
use crate::mysql::Names;
use crate::names;

use self::gauge::{Alone, Gauge};
use self::rounds::Rounds;

mod alone;
mod gauge;
mod rounds;

pub(super) use self::alone::is_member;

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
    /// The UUID of the group that worked last, as far as this keeper has seen it.
    pub uuid: Option<String>,
    /// The members that were in another group, and have not been filled anew since.
    pub apart: BTreeSet<Ordinal>,
    /// Members whose Pods wait for being replaced.
    pub outdated: BTreeSet<Ordinal>,
    /// The last member, where there are more than wanted and it has left the group: its Pod may go.
    pub leaving: Option<Ordinal>,
    /// The words of a person that were followed, or were not needed.
    pub followed: BTreeSet<Word>,
    /// Those of them that changed nothing, as far as this keeper has seen it.
    pub needless: BTreeSet<Word>,
    /// From whom a person may have the group formed anew.
    pub candidates: BTreeSet<Ordinal>,
    /// A person's word that the group waits for and that is not followed, since the member named cannot be taken.
    pub unheard: Option<Word>,
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
    /// Whether it is in the group that serves.
    pub inside: bool,
    /// Whether it is too far behind to be read from.
    pub lags: bool,
    /// How much of its volume it uses, where it has said so.
    pub used: Option<Usage>,
    /// How far it was behind the primary when they were compared last.
    pub behind: Option<Behind>,
    /// The transactions that only it has, where it is kept out because of them; none where it was in another group.
    pub errant: Option<GtidSet>,
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
    /// The members whose volumes are there beyond these.
    kept: BTreeSet<Ordinal>,
    /// What the members' volumes can hold.
    capacities: BTreeMap<Ordinal, u128>,
    /// What new Pods are made from.
    template: Option<Template>,
}

impl Wanted {
    fn of(observed: &Observed, around: &Surroundings) -> Option<Self> {
        let instances = u32::try_from(observed.stack.spec.mysql.as_ref()?.instances).ok()?;
        Some(Self {
            stack: Arc::clone(&observed.stack),
            names: names::group(&observed.stack, &around.cluster_domain),
            instances,
            kept: storage::claims(observed).into_keys().filter(|member| *member >= instances).collect(),
            capacities: storage::capacities(observed),
            template: observed.template(),
        })
    }

    fn namespace(&self) -> String {
        self.stack.namespace().unwrap_or_default()
    }

    /// What a person has decided, as the stack's annotations say; what counts most comes first.
    fn words(&self) -> impl Iterator<Item = Word> {
        let word = |word: fn(Ordinal) -> Word| {
            let member = self.names.member(self.stack.annotations().get(word(0).annotation())?)?;
            Some(word(member))
        };
        [word(Word::Survivor), word(Word::Reclone), word(Word::Primary)].into_iter().flatten()
    }

    /// Who was in the group, as the status says.
    fn known(&self) -> BTreeSet<Ordinal> {
        self.members_in(|status| &status.known)
    }

    /// Who was in another group, as the status says.
    fn apart(&self) -> BTreeSet<Ordinal> {
        self.members_in(|status| &status.apart)
    }

    fn members_in(&self, pods: fn(&MysqlStatus) -> &Vec<String>) -> BTreeSet<Ordinal> {
        let status = self.stack.status.as_ref().and_then(|status| status.mysql.as_ref());
        status.into_iter().flat_map(pods).filter_map(|pod| self.names.member(pod)).collect()
    }

    /// The UUID of the group that worked last, as the status says.
    fn uuid(&self) -> Option<String> {
        self.stack.status.as_ref()?.mysql.as_ref()?.uuid.clone()
    }

    /// What was followed, as the status says.
    fn followed(&self) -> BTreeSet<Word> {
        let status = self.stack.status.as_ref().and_then(|status| status.mysql.as_ref());
        let told = |word: &Word| {
            let told = word.written(&self.names.pod(word.member()));
            status.is_some_and(|status| status.followed.contains(&told))
        };
        self.words().filter(told).collect()
    }
}

/// How long the API server may take to answer a keeper. What has not come about by then is judged anew.
const PATIENCE: Duration = Duration::from_secs(2);

/// The API server's answer, or why there is none, in words that name the object.
async fn answered<T>(object: String, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| format!("{object}: {}", words(&error))),
        Err(_) => Err(format!("{object}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The keepers of all stacks that need one.
pub struct Groups {
    client: Client,
    cache: Arc<Cache>,
    around: Surroundings,
    /// `None` once there shall be no keeper any more.
    keepers: Mutex<Option<Keepers>>,
    news: mpsc::UnboundedSender<ObjectRef<WebStack>>,
}

type Keepers = HashMap<ObjectRef<WebStack>, Keeper>;

struct Keeper {
    uid: Option<String>,
    work: Work,
    task: JoinHandle<()>,
}

/// What a keeper is told, and what it tells.
enum Work {
    Group { wanted: watch::Sender<Wanted>, told: watch::Receiver<Option<Result<Report, String>>> },
    Alone { server: watch::Sender<Alone>, used: watch::Receiver<Option<Usage>> },
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// By which a keeper says that it has news of its stack.
struct News(mpsc::UnboundedSender<ObjectRef<WebStack>>, ObjectRef<WebStack>);

impl News {
    fn tell(&self) {
        // Nobody listens any more when the operator ends.
        drop(self.0.send(self.1.clone()));
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
        (Self { client, cache, around, keepers: Mutex::new(Some(Keepers::new())), news }, told)
    }

    fn keepers(&self) -> MutexGuard<'_, Option<Keepers>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the stack's keeper has told last.
    pub fn report(&self, observed: &mut Observed) {
        let (keepers, stack) = (self.keepers(), &*observed.stack);
        let keeper = keepers.as_ref().and_then(|keepers| keepers.get(&ObjectRef::from_obj(stack)));
        let keeper = keeper.filter(|keeper| keeper.uid == stack.uid());
        match keeper.map(|keeper| &keeper.work) {
            Some(Work::Group { told, .. }) => match told.borrow().clone() {
                Some(Ok(report)) => observed.group = Some(report),
                Some(Err(why)) => observed.unasked = Some(why),
                None => {}
            },
            Some(Work::Alone { used, .. }) => observed.used_alone = *used.borrow(),
            None => {}
        }
    }

    /// Lets a keeper work with what is wanted now: on a group, or on the volume of a server that runs alone. Nobody
    /// where there is no server.
    pub fn keep(&self, observed: &Observed) {
        let reference = ObjectRef::from_obj(&*observed.stack);
        if observed.stack.spec.mysql.is_none() || observed.stack.spec.suspend {
            return self.forget(&reference);
        }
        let group = Wanted::of(observed, &self.around).filter(|_| observed.is_group());
        let uid = observed.stack.uid();
        let mut keepers = self.keepers();
        let Some(keepers) = keepers.as_mut() else { return };
        let there = keepers.get(&reference).filter(|keeper| keeper.uid == uid && !keeper.task.is_finished());
        let news = News(self.news.clone(), reference.clone());
        // At the level that no LOG_LEVEL hides; and none of the reconcile's, which ends sooner.
        let (namespace, stack) = (observed.stack.namespace(), observed.stack.name_any());
        let span = tracing::error_span!(parent: None, "keeper", namespace, stack);
        let (work, task) = match (group, there.map(|keeper| &keeper.work)) {
            (Some(now), Some(Work::Group { wanted, .. })) => {
                wanted.send_replace(now);
                return;
            }
            (None, Some(Work::Alone { server, .. })) => {
                let now = Alone::of(observed);
                server.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
                return;
            }
            (Some(now), _) => {
                let (wanted, receiver) = watch::channel(now);
                let (teller, told) = watch::channel(None);
                let rounds = Rounds::new(self.client.clone(), Arc::clone(&self.cache), receiver, teller, news);
                (Work::Group { wanted, told }, tokio::spawn(rounds.go_on().instrument(span)))
            }
            (None, _) => {
                let (server, receiver) = watch::channel(Alone::of(observed));
                let (told, used) = watch::channel(None);
                let gauge = Gauge { client: self.client.clone(), server: receiver, told, news };
                (Work::Alone { server, used }, tokio::spawn(gauge.go_on().instrument(span)))
            }
        };
        keepers.insert(reference, Keeper { uid, work, task });
    }

    /// Ends the work of a stack's keeper.
    pub fn forget(&self, stack: &ObjectRef<WebStack>) {
        if let Some(keepers) = self.keepers().as_mut() {
            keepers.remove(stack);
        }
    }

    /// Ends the work of all keepers. None begins any more.
    pub fn end(&self) {
        self.keepers().take();
    }
}
