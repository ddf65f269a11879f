//! Measures the volume of a server that runs alone, now and then. Its keeper does nothing else: it needs nobody to
//! serve.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;

use super::{News, answered};
use crate::controller::observe::Observed;
use crate::controller::storage::{self, Usage};
use crate::mysql;
use crate::names::{self, Component};

/// Between two questions to a server.
const MEASURE: Duration = Duration::from_secs(30);

/// The same where it lets root not in: it may have been told so on purpose.
const REFUSED: Duration = Duration::from_secs(900);

/// Why a server did not say how much it uses.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Api(String),
    #[error("the Secret has no {} that is text", names::ROOT_PASSWORD)]
    NoPassword,
    #[error("{0}")]
    Sql(#[from] mysql::Error),
}

/// A server that runs alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alone {
    namespace: String,
    /// The Secret with root's password.
    credentials: String,
    /// Where it answers; `None` while it does not serve.
    address: Option<String>,
    /// What its volume can hold, in thousandths of bytes.
    capacity: Option<u128>,
}

impl Alone {
    pub(super) fn of(observed: &Observed) -> Self {
        let stack = &*observed.stack;
        let pod = observed.pods_of(Component::Mysql).next().filter(|_| observed.database_ready());
        Self {
            namespace: stack.metadata.namespace.clone().unwrap_or_default(),
            credentials: names::credentials(stack),
            address: pod.and_then(|pod| pod.status.as_ref()?.pod_ip.clone()),
            capacity: storage::capacities(observed).get(&0).copied(),
        }
    }
}

/// Measures until it is dropped, and tells what is new.
pub(super) struct Gauge {
    pub(super) client: Client,
    pub(super) server: watch::Receiver<Alone>,
    pub(super) told: watch::Sender<Option<Usage>>,
    pub(super) news: News,
}

impl Gauge {
    pub(super) async fn go_on(mut self) {
        let mut password = None;
        loop {
            let server = self.server.borrow_and_update().clone();
            let mut pause = MEASURE;
            // On the heap, and only as long as it takes: a conversation with MySQL is large, and gauges wait most of
            // the time.
            match Box::pin(self.measure(&server, &mut password)).await {
                Ok(used)
                    if self.told.send_if_modified(|told| used.is_some() && std::mem::replace(told, used) != used) =>
                {
                    self.news.tell();
                }
                Ok(_) => {}
                Err(error) => {
                    // Somebody may have made a new one.
                    password = None;
                    if matches!(&error, Error::Sql(error) if error.is_access_denied()) {
                        pause = REFUSED;
                    }
                    tracing::debug!(%error, "a server did not say how much of its volume it uses");
                }
            }
            // Another address, or another capacity, is worth a question at once.
            if let Ok(Err(_)) = tokio::time::timeout(pause, self.server.changed()).await {
                return;
            }
        }
    }

    /// `None` while there is nobody to ask.
    async fn measure(&self, server: &Alone, password: &mut Option<String>) -> Result<Option<Usage>, Error> {
        let (Some(address), Some(capacity)) = (&server.address, server.capacity) else { return Ok(None) };
        let password = match password {
            Some(password) => password,
            None => password.insert(self.read_password(server).await?),
        };
        Ok(Usage::of(mysql::used(address, password).await?, capacity))
    }

    async fn read_password(&self, server: &Alone) -> Result<String, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &server.namespace);
        let secret = answered(format!("Secret {}", server.credentials), api.get(&server.credentials)).await;
        let secret = secret.map_err(Error::Api)?;
        let value = secret.data.and_then(|mut data| data.remove(names::ROOT_PASSWORD));
        value.and_then(|value| String::from_utf8(value.0).ok()).ok_or(Error::NoPassword)
    }
}
