//! What the user is told: the status, in words that name the object and the cause, and events for what changed.

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};
use sha2::{Digest, Sha256};

use crate::controller::apply::{self, Change};
use crate::controller::build::migration::{self, Stage};
use crate::controller::observe::{CRASHED, Observed, waits_for};
use crate::controller::references::hex;
use crate::controller::validate::{Problem, Validated};
use crate::crd::{MemberStatus, MysqlStatus, ServiceType, WebStackStatus, WebStatus};
use crate::names::{self, Component};

mod group;
mod storage;

/// How a tier stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It serves as wanted.
    Serves(&'static str),
    /// It is on its way there; why it is not there yet.
    Moves(&'static str, String),
    /// Something is in its way that does not go by waiting.
    Blocked(String, String),
}

impl State {
    /// `(status, reason, message)` of a condition that says whether it serves.
    fn condition(&self, serves: &str) -> (&'static str, String, String) {
        match self {
            Self::Serves(reason) => ("True", (*reason).to_owned(), serves.to_owned()),
            Self::Moves(reason, message) => ("False", (*reason).to_owned(), message.clone()),
            Self::Blocked(reason, message) => ("False", reason.clone(), message.clone()),
        }
    }
}

/// The status for what was observed before `changes` were made, with `error` if not all could be.
pub fn status(
    observed: &Observed,
    validated: &Validated,
    changes: &[Change],
    error: Option<&apply::Error>,
    now: Timestamp,
) -> WebStackStatus {
    let stack = &*observed.stack;
    let refused = error.map(|error| (error.concerns(stack), refused(error)));
    let refused = |tier| refused.as_ref().filter(|(concerned, _)| *concerned == tier).map(|(_, words)| words);
    let (mysql, mysql_status) = mysql(observed, validated.mysql.as_ref(), refused(Component::Mysql));
    let (web, web_status) = web(observed, validated.web.as_ref(), refused(Component::Web));
    let database_ready = mysql.condition(match stack.spec.mysql {
        Some(_) => "the database serves",
        None => "the database is not the operator's: nothing is known of it",
    });
    let web_ready = web.condition("the web tier serves");
    let rolling = rolling(observed, changes);
    let ready = match (&mysql, &web) {
        (State::Serves(_), State::Serves(_)) => ("True", "Serves".to_owned(), "both tiers serve".to_owned()),
        // What blocks is told before what only takes its time, and the database before the web tier, which waits for
        // it.
        (_, State::Blocked(..)) if !matches!(mysql, State::Blocked(..)) => web_ready.clone(),
        (State::Serves(_), _) => web_ready.clone(),
        _ => database_ready.clone(),
    };
    let progressing = match (&mysql, &web) {
        (State::Blocked(reason, message), _) | (_, State::Blocked(reason, message)) => {
            ("False", reason.clone(), message.clone())
        }
        (State::Moves(reason, message), _) | (_, State::Moves(reason, message)) if *reason != SUSPENDED => {
            ("True", (*reason).to_owned(), message.clone())
        }
        _ => match rolling {
            Some(what) => ("True", "RollingUpdate".to_owned(), what),
            None => ("False", "UpToDate".to_owned(), "everything is as the spec says".to_owned()),
        },
    };
    let before = stack.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let condition = |type_: &str, (status, reason, message): (&str, String, String)| {
        let same = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            observed_generation: stack.metadata.generation,
            last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    let mut conditions = vec![
        condition("Ready", ready),
        condition("DatabaseReady", database_ready),
        condition("WebReady", web_ready),
        condition("Progressing", progressing),
    ];
    if observed.is_group() {
        conditions.extend(group::conditions(observed).into_iter().map(|(type_, told)| condition(type_, told)));
    }
    if stack.spec.mysql.is_some() {
        conditions.push(condition(STORAGE_LOW, storage::low(observed)));
    }
    WebStackStatus {
        observed_generation: stack.metadata.generation,
        url: url(observed),
        conditions,
        mysql: mysql_status,
        web: Some(web_status),
    }
}

use self::storage::STORAGE_LOW;

const SUSPENDED: &str = "Suspended";

/// The scheduler's word for a Pod that no node takes.
const UNSCHEDULABLE: &str = "Unschedulable";

/// What the API server refused, as `(reason, message)`.
fn refused(error: &apply::Error) -> (String, String) {
    let reason = match error {
        apply::Error::Api { source, .. } => match &**source {
            kube::Error::Api(status) if status.message.contains("exceeded quota") => "QuotaExceeded",
            kube::Error::Api(status) if status.code == 403 => "Forbidden",
            kube::Error::Api(status) if status.code == 409 => "Conflict",
            kube::Error::Api(status) if status.code == 422 => "Refused",
            _ => "ApiError",
        },
        apply::Error::Json { .. } | apply::Error::Random(_) => "InternalError",
    };
    (reason.to_owned(), error.to_string())
}

/// What keeps a tier's Pods from serving: a word, and a sentence.
fn trouble(observed: &Observed, component: Component) -> Option<(String, String)> {
    let name = component.of(&observed.stack);
    let pods: Vec<_> = observed.pods_of(component).filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    let refusal = |object: &str| observed.refusals.iter().find(|(refused, _)| refused == object);
    let told = pods.iter().find_map(|pod| waits_for(pod));
    if component == Component::Mysql && told.as_ref().is_some_and(|(reason, _)| reason == UNSCHEDULABLE) {
        // A volume that cannot be made keeps a Pod from every node; the scheduler does not say why.
        let mut claims = observed.live.claims.iter().map(ResourceExt::name_any);
        if let Some((claim, words)) = claims.find_map(|claim| refusal(&claim)) {
            return Some(("VolumeMissing".to_owned(), format!("PersistentVolumeClaim {claim}: {words}")));
        }
    }
    told.or_else(|| {
        let (_, words) = refusal(&name).or_else(|| pods.iter().find_map(|pod| refusal(&pod.name_any())))?;
        let reason = if words.contains("exceeded quota") { "QuotaExceeded" } else { "PodsRefused" };
        Some((reason.to_owned(), words.clone()))
    })
}

fn mysql(
    observed: &Observed,
    problem: Option<&Problem>,
    refused: Option<&(String, String)>,
) -> (State, Option<MysqlStatus>) {
    let stack = &*observed.stack;
    let Some(spec) = &stack.spec.mysql else {
        return (State::Serves("External"), None);
    };
    let set = observed.stateful_set().and_then(|set| set.status.as_ref());
    let ready = set.and_then(|status| status.ready_replicas).unwrap_or_default();
    let wanted = if stack.spec.suspend { 0 } else { spec.instances };
    let status = MysqlStatus {
        instances: wanted,
        ready_instances: ready,
        ready: format!("{ready}/{wanted}"),
        primary: (ready > 0).then(|| format!("{}-0", Component::Mysql.of(stack))),
        members: alone(observed, ready > 0),
        uuid: observed.group_uuid().map(str::to_owned),
        ..MysqlStatus::default()
    };
    let grouped = observed.is_group() && !stack.spec.suspend;
    let status = if observed.is_group() { group::status(observed, wanted) } else { status };
    let count = format!("mysql: {ready} of {wanted} Pods ready");
    let state = match (problem, refused, trouble(observed, Component::Mysql)) {
        (problem, refused, _) if stack.spec.suspend && (ready == 0 || (problem, refused) == (None, None)) => {
            suspended("mysql", ready)
        }
        (Some(Problem { reason, message }), ..) => State::Blocked((*reason).to_owned(), format!("mysql: {message}")),
        (_, Some((reason, message)), _) => State::Blocked(reason.clone(), message.clone()),
        // A group serves, whatever keeps one member away.
        _ if grouped && observed.database_ready() => State::Serves("Serves"),
        (.., None) if grouped => group::state(observed),
        (_, _, Some((reason, message))) => State::Blocked(reason.clone(), format!("{count}: {reason} {message}")),
        _ if ready < wanted => State::Moves("DatabaseStarts", count),
        _ => State::Serves("Serves"),
    };
    (state, Some(status))
}

/// The state of a server that is in no group.
const ALONE: &str = "ALONE";

/// What is told of a server that runs alone, once it has said how full its volume is.
fn alone(observed: &Observed, ready: bool) -> Vec<MemberStatus> {
    let stack = &*observed.stack;
    if stack.spec.suspend {
        return Vec::new();
    }
    let before = stack.status.iter().filter_map(|status| status.mysql.as_ref()).flat_map(|before| &before.members);
    // Of a group that there was before, nothing is kept.
    let before = before.clone().find(|member| member.state == ALONE).and_then(|member| member.used);
    let used = observed.used_alone.map(|used| used.percent).or(before);
    let member = used.map(|used| MemberStatus {
        name: group::pod(observed, 0),
        state: ALONE.to_owned(),
        role: ready.then(|| "primary".to_owned()),
        used: Some(used),
        ..MemberStatus::default()
    });
    member.into_iter().collect()
}

fn web(observed: &Observed, problem: Option<&Problem>, refused: Option<&(String, String)>) -> (State, WebStatus) {
    let stack = &*observed.stack;
    let deployment = observed.deployment().and_then(|deployment| deployment.status.as_ref());
    let ready = deployment.and_then(|status| status.ready_replicas).unwrap_or_default();
    let wanted = if stack.spec.suspend { 0 } else { stack.spec.web.replicas };
    let status = WebStatus {
        replicas: deployment.and_then(|status| status.replicas).unwrap_or_default(),
        ready_replicas: ready,
        ready: format!("{ready}/{wanted}"),
        selector: names::selector(&names::component_labels(stack, Component::Web)),
    };
    let count = format!("web: {ready} of {wanted} Pods ready");
    let stage = migration::stage(observed);
    let of_migration = || trouble(observed, Component::Migration).filter(|_| stage == Stage::Runs);
    let told = of_migration().map(|(reason, message)| match reason.as_str() {
        CRASHED => {
            let job = migration::job_name(observed).unwrap_or_default();
            ("MigrationFails".to_owned(), format!("Job {job} fails: {message}"))
        }
        _ => (reason.clone(), format!("{reason} {message}")),
    });
    let told = told.or_else(|| {
        let (reason, message) = trouble(observed, Component::Web)?;
        Some((reason.clone(), format!("{reason} {message}")))
    });
    let state = match (problem, refused, told) {
        (problem, refused, _) if stack.spec.suspend && (ready == 0 || (problem, refused) == (None, None)) => {
            suspended("web", ready)
        }
        (Some(Problem { reason, message }), ..) => State::Blocked((*reason).to_owned(), format!("web: {message}")),
        (_, Some((reason, message)), _) => State::Blocked(reason.clone(), message.clone()),
        // As many serve as should, and yet a Pod cannot: it is one of a roll, of which the old ones wait for the new.
        (_, _, Some((reason, message))) if ready >= wanted => {
            State::Blocked(reason, format!("{count}, but the new version does not come up: {message}"))
        }
        (_, _, Some((reason, message))) => State::Blocked(reason, format!("{count}: {message}")),
        _ if !observed.database_ready() && ready < wanted => {
            State::Moves("WaitsForDatabase", format!("{count}: they wait for the database"))
        }
        _ if ready < wanted => match migrates(stage) {
            Some(what) => State::Moves("Migrates", format!("{count}: {what}")),
            None => State::Moves("PodsStart", count),
        },
        _ => State::Serves("Serves"),
    };
    (state, status)
}

fn suspended(tier: &str, ready: i32) -> State {
    let message = match ready {
        0 => format!("{tier}: suspended"),
        1 => format!("{tier}: 1 Pod is about to stop"),
        _ => format!("{tier}: {ready} Pods are about to stop"),
    };
    State::Moves(SUSPENDED, message)
}

/// What the migration is at, where it is at something.
fn migrates(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Runs => Some("the migration runs"),
        Stage::WaitsForAnother => Some("an earlier migration has to stop before the next one runs"),
        Stage::None | Stage::WaitsForDatabase | Stage::Done => None,
    }
}

/// What still changes although both tiers serve.
fn rolling(observed: &Observed, changes: &[Change]) -> Option<String> {
    if !changes.is_empty() {
        return Some("changes were applied".to_owned());
    }
    if let Some(what) = migrates(migration::stage(observed)) {
        return Some(format!("web: {what}"));
    }
    if let Some(what) = group::moves(observed) {
        return Some(what);
    }
    let set = observed.stateful_set().filter(|set| {
        let (spec, status) = (set.spec.clone().unwrap_or_default(), set.status.clone().unwrap_or_default());
        let replicas = spec.replicas.unwrap_or_default();
        status.observed_generation != set.metadata.generation
            || status.replicas != replicas
            // The operator replaces the Pods: Kubernetes never says that all are of the newest version.
            || observed.template().is_some_and(|template| {
                observed.pods_of(Component::Mysql).any(|pod| template.replaces(pod))
            })
    });
    let deployment = observed.deployment().filter(|deployment| {
        let (spec, status) =
            (deployment.spec.clone().unwrap_or_default(), deployment.status.clone().unwrap_or_default());
        let replicas = spec.replicas.unwrap_or_default();
        status.observed_generation != deployment.metadata.generation
            || status.replicas.unwrap_or_default() != replicas
            || status.updated_replicas.unwrap_or_default() != replicas
    });
    match (set, deployment) {
        (Some(set), _) => Some(format!("mysql: StatefulSet {} is rolling", set.name_any())),
        (_, Some(deployment)) => Some(format!("web: Deployment {} is rolling", deployment.name_any())),
        _ => None,
    }
}

fn url(observed: &Observed) -> Option<String> {
    let stack = &*observed.stack;
    let web = &stack.spec.web;
    if let Some(ingress) = &web.ingress {
        let scheme = if ingress.tls_secret.is_some() { "https" } else { "http" };
        return Some(format!("{scheme}://{}", ingress.host));
    }
    let name = Component::Web.of(stack);
    let service = observed.live.services.iter().find(|service| service.name_any() == name)?;
    match web.service.type_ {
        ServiceType::ClusterIP => {
            let namespace = stack.namespace().unwrap_or_default();
            Some(at(&format!("{name}.{namespace}.svc"), web.service.port))
        }
        ServiceType::NodePort => {
            let port = node_port(service)?;
            // Any node answers: one that a Pod runs on is known without a look at the nodes.
            let host = observed.pods_of(Component::Web).find_map(|pod| pod.status.as_ref()?.host_ip.clone())?;
            Some(at(&host, port))
        }
        ServiceType::LoadBalancer => {
            let balancer = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
            Some(at(balancer.hostname.as_ref().or(balancer.ip.as_ref())?, web.service.port))
        }
    }
}

fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

fn at(host: &str, port: i32) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") }
}

/// How many bytes of words the API server takes in an event: one with more is refused.
const NOTE: usize = 1024;

/// As much of an event's words as it may have.
fn fitting(mut note: String) -> String {
    if note.len() > NOTE {
        let begins = note.char_indices().map(|(begin, _)| begin);
        let end = begins.take_while(|begin| begin + '…'.len_utf8() <= NOTE).last().unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}

/// Events for what was changed, and for a readiness that came or went for another reason than before.
pub fn events(observed: &Observed, status: &WebStackStatus, changes: &[Change]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut push = |type_, reason: &str, note: String, secondary| {
        // Events of one reason are gathered into one, with the words of the first, unless their actions differ.
        let action = format!("Reconcile-{}", &hex(&Sha256::digest(&note))[..8]);
        let (reason, note) = (reason.to_owned(), fitting(note));
        events.push(Event { type_, reason, note: Some(note), action, secondary });
    };
    if observed.stack.status.is_none() {
        // One for all that a new stack is made of.
        let made: Vec<_> = changes.iter().map(|change| format!("{} {}", change.kind, change.name)).collect();
        if !made.is_empty() {
            push(EventType::Normal, "Created", made.join(", "), None);
        }
    } else {
        for Change { action, kind, name } in changes {
            let about = ObjectReference { kind: Some(kind.clone()), name: Some(name.clone()), ..Default::default() };
            push(EventType::Normal, action, format!("{kind} {name}"), Some(about));
        }
    }
    if let Some((from, to)) = new_primary(observed, status) {
        push(EventType::Normal, "PrimaryChanged", format!("{to} takes writes, in the place of {from}"), None);
    }
    if let Some(mysql) = &status.mysql {
        let (newcomers, leavers) = group::newcomers_and_leavers(observed, mysql);
        if !newcomers.is_empty() {
            push(EventType::Normal, "MembersJoined", format!("in the group now: {}", newcomers.join(", ")), None);
        }
        if !leavers.is_empty() {
            push(EventType::Normal, "MembersLeft", format!("not in the group any more: {}", leavers.join(", ")), None);
        }
    }
    for word in newly_followed(observed, status) {
        let mut needless = observed.group.iter().flat_map(|report| &report.needless);
        let is_needless = needless.any(|needless| group::written(observed, *needless) == word);
        let (reason, what) = match is_needless {
            true => ("DecisionNotNeeded", "changes nothing: what it says is so already"),
            false => ("DecisionFollowed", "was followed"),
        };
        push(EventType::Normal, reason, format!("{word} {what}; take the annotation away"), None);
    }
    if let Some(unheard) = group::newly_unheard(observed) {
        push(EventType::Warning, "DecisionRefused", unheard, None);
    }
    for (member, errant) in newly_errant(observed, status) {
        push(EventType::Warning, group::MEMBERS_ERRANT, group::kept_out(&member, &errant), None);
    }
    let low = |status: &WebStackStatus| {
        status.conditions.iter().find(|known| known.type_ == STORAGE_LOW && known.status == "True").cloned()
    };
    let was_low = observed.stack.status.as_ref().and_then(low).is_some();
    if let Some(now) = low(status).filter(|_| !was_low) {
        push(EventType::Warning, STORAGE_LOW, now.message, None);
    }
    let ready =
        |status: &WebStackStatus| status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
    let before = observed.stack.status.as_ref().and_then(ready);
    let changed = |now: &Condition| before.as_ref().is_none_or(|before| before.reason != now.reason);
    if let Some(now) = ready(status).filter(changed) {
        let blocked = status.conditions.iter().any(|condition| {
            condition.type_ == "Progressing" && condition.status == "False" && condition.reason == now.reason
        });
        // That a new stack's tiers are not there yet is no news.
        if before.is_some() || blocked || now.status == "True" {
            let type_ = if now.status == "False" && blocked { EventType::Warning } else { EventType::Normal };
            push(type_, &now.reason, now.message, None);
        }
    }
    let blocked = |status: &WebStackStatus| {
        status.conditions.iter().find(|known| known.type_ == "Blocked" && known.status == "True").cloned()
    };
    let before = observed.stack.status.as_ref().and_then(blocked).map(|before| before.reason);
    // What keeps the stack from being ready, and who is errant, was told above.
    let told = ready(status).map(|ready| ready.reason).into_iter().chain([group::MEMBERS_ERRANT.to_owned()]);
    let told: Vec<_> = told.chain(before).collect();
    if let Some(now) = blocked(status).filter(|now| !told.contains(&now.reason)) {
        push(EventType::Warning, &now.reason, now.message, None);
    }
    events
}

/// Who took writes before and who takes them now, where it is another one: also after a time when nobody did.
fn new_primary(observed: &Observed, status: &WebStackStatus) -> Option<(String, String)> {
    let (before, now) = (observed.stack.status.as_ref()?.mysql.as_ref()?, status.mysql.as_ref()?);
    let to = now.primary.clone()?;
    let failover = || now.last_failover.as_ref().filter(|last| before.last_failover.as_ref() != Some(*last));
    let from = before.primary.clone().or_else(|| Some(failover()?.from.clone()))?;
    (from != to).then_some((from, to))
}

/// A person's words that are done with, and were not before.
fn newly_followed(observed: &Observed, status: &WebStackStatus) -> Vec<String> {
    let before = observed.stack.status.as_ref().and_then(|status| status.mysql.as_ref()).map(|mysql| &mysql.followed);
    let now = status.mysql.iter().flat_map(|mysql| &mysql.followed);
    now.filter(|word| before.is_none_or(|before| !before.contains(word))).cloned().collect()
}

/// Who is kept out of the group. Where there is none, since no member has all transactions, nobody is: what each one
/// alone has is told in the condition's words.
fn kept_out(status: &WebStackStatus) -> impl Iterator<Item = &MemberStatus> {
    let diverged = status.conditions.iter().any(|condition| condition.reason == group::MEMBERS_DIVERGED);
    let members = status.mysql.iter().filter(move |_| !diverged).flat_map(|mysql| &mysql.members);
    members.filter(|member| member.errant.is_some())
}

fn newly_errant(observed: &Observed, status: &WebStackStatus) -> Vec<(String, String)> {
    let before: Vec<_> = observed.stack.status.iter().flat_map(kept_out).collect();
    let is_new = |member: &&MemberStatus| !before.iter().any(|known| known.name == member.name);
    kept_out(status).filter(is_new).filter_map(|member| Some((member.name.clone(), member.errant.clone()?))).collect()
}
