//! Which of several operators reconciles: the one that holds the Lease.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::names::OPERATOR;

/// How long the Lease holds without being renewed, in seconds, and how long before its end it is renewed.
const DURATION: u64 = 15;
const GRACE: u64 = 5;

/// How long giving the Lease back may take.
const RELEASE: Duration = Duration::from_secs(5);

/// A place in the election.
pub struct Election {
    leads: watch::Receiver<bool>,
    task: JoinHandle<Result<kube_lease_manager::LeaseManager, LeaseManagerError>>,
}

impl Election {
    /// Stands for election as `identity`, with a Lease in `namespace`.
    ///
    /// # Errors
    /// The Lease cannot be read or made.
    pub async fn stand(client: Client, namespace: &str, identity: &str) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, OPERATOR)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await?;
        let (leads, task) = manager.watch().await;
        Ok(Self { leads, task })
    }

    /// Waits until this process leads; `false` when it cannot any more.
    pub async fn won(&mut self) -> bool {
        self.leads.wait_for(|leads| *leads).await.is_ok()
    }

    /// Resolves when this process does not lead any more; an election that broke counts as lost.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let mut leads = self.leads.clone();
        async move { drop(leads.wait_for(|leads| !leads).await) }
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub async fn resign(self) {
        drop(self.leads);
        if tokio::time::timeout(RELEASE, self.task).await.is_err() {
            tracing::warn!("the Lease could not be given back in time: it ends by itself");
        }
    }
}
