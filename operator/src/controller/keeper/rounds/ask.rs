//! What members are asked, and by which passwords.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use tokio::time::Instant;

use super::Rounds;
use crate::controller::keeper::alone::knows_group;
use crate::controller::keeper::{Wanted, answered};
use crate::group::Ordinal;
use crate::mysql::{Passwords, Server, Statement};
use crate::names;

/// How long the others are waited for once most members have answered. One that is frozen must not delay what they
/// know.
const LATE: Duration = Duration::from_millis(250);

/// Between two times when the passwords are read.
const READ_AGAIN: Duration = Duration::from_secs(3);

/// The passwords, as they were read last.
#[derive(Default)]
pub(super) struct Keys {
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
pub(in crate::controller::keeper) enum Met {
    Answered(Box<Statement>),
    Away,
    /// It takes none of the passwords.
    Refused,
    Silent,
}

impl Met {
    pub(in crate::controller::keeper) fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Answered(statement) => Some(statement),
            Self::Away | Self::Refused | Self::Silent => None,
        }
    }
}

impl Rounds {
    /// The passwords; `None` while there are none. Those that there are may still open the other servers, also where
    /// they cannot be read again.
    pub(super) async fn passwords(&mut self, wanted: &Wanted) -> Result<Option<Passwords>, String> {
        let now = Instant::now();
        if self.keys.are_due(now) {
            (self.keys.read, self.keys.refused) = (Some(now), false);
            match self.read_passwords(wanted).await {
                Ok(read) => self.keys.passwords = read.or(self.keys.passwords.take()),
                Err(error) if self.keys.passwords.is_some() => {
                    tracing::warn!(error, "the passwords were not read again")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.keys.passwords.clone())
    }

    async fn read_passwords(&self, wanted: &Wanted) -> Result<Option<Passwords>, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &wanted.namespace());
        let read = async |name: String, key: &str| {
            let secret = answered(format!("Secret {name}"), api.get_opt(&name)).await?;
            let value = secret.and_then(|secret| secret.data?.remove(key));
            value.map(|value| String::from_utf8(value.0).map_err(|error| error.to_string())).transpose()
        };
        let root = read(names::credentials(&wanted.stack), names::ROOT_PASSWORD);
        let operator = read(names::group_secret(&wanted.stack), names::PASSWORD);
        let (root, operator) = future::try_join(root, operator).await?;
        // It becomes part of statements.
        let operator = operator.filter(|password| password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        Ok(root.zip(operator).map(|(root, operator)| Passwords { root, operator }))
    }

    /// Asks every member at once.
    pub(super) async fn ask(
        &mut self,
        wanted: &Wanted,
        pods: &BTreeMap<Ordinal, Pod>,
        passwords: &Passwords,
    ) -> BTreeMap<Ordinal, Met> {
        // A Pod that earlier versions of the operator have made to run alone knows neither a group nor the operator's
        // account.
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
            self.silent.entry(member).or_insert_with(Instant::now);
        }
        met
    }
}

/// What comes before that time, if there is a limit.
async fn before<T>(end: Option<Instant>, next: impl Future<Output = Option<T>>) -> Option<T> {
    match end {
        Some(end) => tokio::time::timeout_at(end, next).await.ok().flatten(),
        None => next.await,
    }
}

pub(super) fn address(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone()
}

#[cfg(test)]
mod tests {
    use super::super::PERIOD;
    use super::super::tests::rounds;
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

    #[tokio::test]
    async fn passwords_that_cannot_be_read_again_are_used_on() {
        let (mut rounds, wanted) = rounds(async |_| 500);
        assert_eq!(rounds.passwords(&wanted).await.err().unwrap(), "Secret shop-mysql: a fault");
        let passwords = Passwords { root: "a".to_owned(), operator: "b".to_owned() };
        rounds.keys = Keys { passwords: Some(passwords.clone()), refused: true, read: None };
        assert!(rounds.passwords(&wanted).await == Ok(Some(passwords)));
    }
}
