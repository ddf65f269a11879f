//! Which of several operators reconciles: the one that holds the Lease.
//!
//! Nobody's clock is compared with another one's. Whoever waits takes the Lease once it has not seen it renewed for as
//! long as it holds. Whoever leads counts from before the last renewal that was answered, and stops earlier than that:
//! also one that is cut off from the API server, and not from the databases
//! (docs/decisions/0037-the-lease-fences-the-keepers.md).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::controller::apply::words;
use crate::names::OPERATOR;

/// How long the Lease holds after a renewal.
pub const DURATION: Duration = Duration::from_secs(12);

/// How long after its last renewal the holder leads. The rest is for what it has begun by then to end.
pub const DEADLINE: Duration = Duration::from_secs(9);

/// Between two renewals, and between two looks of whoever waits.
const PERIOD: Duration = Duration::from_secs(2);

/// How long an attempt may take. One that hangs must leave time for others.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long giving the Lease back may take.
const RELEASE: Duration = Duration::from_secs(5);

/// A place in an election, for one term at most.
pub struct Election {
    candidate: Candidate,
    leads: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Election {
    /// Stands for election as `identity`, with a Lease in `namespace`.
    pub fn stand(client: Client, namespace: &str, identity: &str) -> Self {
        let candidate = Candidate { api: Api::namespaced(client, namespace), identity: identity.to_owned() };
        let (sender, leads) = watch::channel(false);
        let standing = candidate.clone();
        // When it ends, it takes the sender along: the term is over.
        let task = tokio::spawn(async move {
            let held = standing.win().await;
            sender.send_replace(true);
            standing.lead(held).await;
        });
        Self { candidate, leads, task }
    }

    /// Waits until this process leads.
    pub async fn won(&mut self) {
        // One that has lost again by now is told so by what comes next.
        drop(self.leads.wait_for(|leads| *leads).await);
    }

    /// Resolves when this process does not lead any more, whatever the reason.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let mut leads = self.leads.clone();
        async move { while leads.changed().await.is_ok() {} }
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub async fn resign(self) {
        self.task.abort();
        if let Err(error) = in_time(RELEASE, self.candidate.release()).await {
            tracing::warn!(%error, "the Lease could not be given back: it ends by itself");
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why an attempt has led to nothing.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", words(.0))]
    Api(#[from] kube::Error),
    #[error("no answer in time")]
    Late,
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    Ok(timeout(limit, work).await.map_err(|_| Error::Late)??)
}

/// The Lease as another one holds it, and since when it has been seen so.
#[derive(Default)]
struct Seen(Option<(Option<String>, Instant)>);

impl Seen {
    /// Until when it holds at least.
    fn end(&mut self, lease: &Lease) -> Instant {
        let version = lease.resource_version();
        let (_, since) = match self.0.take() {
            Some(seen) if seen.0 == version => self.0.insert(seen),
            _ => self.0.insert((version, Instant::now())),
        };
        let said = lease.spec.as_ref().and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        *since + said.map_or(DURATION, Duration::from_secs)
    }
}

/// What has become of an attempt to take the Lease.
enum Taken {
    /// This process holds it, in this version.
    Ours(Option<String>),
    /// Another one does, until then at least.
    Until(Instant),
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The Lease as this process holds it: since when the request began that said so, and which version it is.
struct Held {
    since: Instant,
    version: Option<String>,
}

#[derive(Clone)]
struct Candidate {
    api: Api<Lease>,
    identity: String,
}

impl Candidate {
    /// Takes the Lease as soon as it can be had.
    async fn win(&self) -> Held {
        let mut seen = Seen::default();
        loop {
            let began = Instant::now();
            let again = match in_time(PATIENCE, self.take(&mut seen)).await {
                Ok(Taken::Ours(version)) => return Held { since: began, version },
                Ok(Taken::Until(end)) => end.min(began + PERIOD),
                Err(error) => {
                    tracing::warn!(%error, "the Lease cannot be had");
                    began + PERIOD
                }
            };
            sleep_until(again).await;
        }
    }

    /// Renews the Lease until another one has it, or nothing was renewed for too long.
    async fn lead(&self, mut held: Held) {
        loop {
            match timeout_at(held.since + DEADLINE, self.renewed(&held)).await {
                Ok(Some(again)) => held = again,
                Ok(None) => return tracing::warn!("another operator has taken the Lease"),
                Err(_) => return tracing::warn!("the Lease could not be renewed in time"),
            }
        }
    }

    /// Renews the Lease in as many attempts as it takes; `None` where another one has it.
    async fn renewed(&self, held: &Held) -> Option<Held> {
        let (mut next, mut version) = (held.since, held.version.clone());
        loop {
            next += PERIOD;
            sleep_until(next).await;
            let since = Instant::now();
            match in_time(PATIENCE, self.renew(&mut version)).await {
                Ok(done) => return done.then_some(Held { since, version }),
                Err(error) => tracing::warn!(%error, "the Lease was not renewed"),
            }
        }
    }

    /// Takes the Lease where nobody holds it any more.
    async fn take(&self, seen: &mut Seen) -> Result<Taken, kube::Error> {
        let lease = match self.api.get_opt(OPERATOR).await? {
            Some(lease) => lease,
            None => {
                let metadata = ObjectMeta { name: Some(OPERATOR.to_owned()), ..ObjectMeta::default() };
                self.api.create(&PostParams::default(), &Lease { metadata, spec: None }).await?
            }
        };
        let holder = holder(&lease);
        let end = seen.end(&lease);
        // Whoever holds it under this name is an earlier life of this process.
        if holder.is_some_and(|holder| holder != self.identity) && Instant::now() < end {
            return Ok(Taken::Until(end));
        }
        let now = MicroTime(Timestamp::now());
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions.saturating_add(1),
        });
        self.write(lease.resource_version(), spec).await.map(|lease| Taken::Ours(lease.resource_version()))
    }

    /// Renews the Lease, by one request where nobody else has changed it since this version; `false` where this process
    /// does not hold it.
    async fn renew(&self, version: &mut Option<String>) -> Result<bool, kube::Error> {
        let renewed = async |version| self.write(version, json!({"renewTime": MicroTime(Timestamp::now())})).await;
        let lease = match renewed(version.clone()).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let lease = self.api.get(OPERATOR).await?;
                if holder(&lease) != Some(&self.identity) {
                    return Ok(false);
                }
                renewed(lease.resource_version()).await?
            }
            renewed => renewed?,
        };
        *version = lease.resource_version();
        Ok(holder(&lease) == Some(&self.identity))
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.api.get(OPERATOR).await?;
        if holder(&lease) != Some(&self.identity) {
            return Ok(());
        }
        let nobody = json!({"holderIdentity": null, "acquireTime": null, "renewTime": null});
        self.write(lease.resource_version(), nobody).await.map(|_| ())
    }

    /// Changes the Lease, unless somebody else has done so since this version.
    async fn write(&self, version: Option<String>, spec: Value) -> Result<Lease, kube::Error> {
        let how = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        self.api.patch(OPERATOR, &how, &Patch::Merge(patch)).await
    }
}
