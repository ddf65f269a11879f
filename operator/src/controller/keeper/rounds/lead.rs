//! Leads clients. Reads go to the Pods that carry a label; writes to the one Pod that their Service names: what one
//! write changes, Kubernetes carries out at once, and of two that follow each other often the second one a second
//! later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{self, OptionFuture};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::Rounds;
use super::ask::Met;
use crate::controller::keeper::{Wanted, answered, is_member};
use crate::group::{Condition, Ordinal, Route, Verdict};
use crate::names::{IN_GROUP, NOBODY, OPERATOR, POD_NAME, READS, ROLE};

/// After a member has been silent for so long, nobody is led to it any more for reads. One that is known to be away is
/// left at once.
const SILENT: Duration = Duration::from_millis(600);

impl Rounds {
    /// Leads clients by the Service for writes and by the Pods' labels. Says where writes go then, nowhere as long as
    /// the Service cannot be told, and what was refused: one refusal says nothing of the others.
    pub(super) async fn lead(
        &self,
        wanted: &Wanted,
        pods: &BTreeMap<Ordinal, Pod>,
        verdict: &Verdict,
        met: &BTreeMap<Ordinal, Met>,
    ) -> Result<(Option<Ordinal>, Vec<String>), String> {
        let primary = match verdict.route {
            Route::Keep => led(pods),
            Route::Nobody => None,
            Route::To(member) => Some(member),
        };
        let answers = |member: &Ordinal| match met.get(member) {
            Some(Met::Answered(_)) => true,
            Some(Met::Away) | None => false,
            Some(Met::Silent | Met::Refused) => self.silent.get(member).is_none_or(|since| since.elapsed() < SILENT),
        };
        let may_read: BTreeSet<_> = match verdict.route {
            Route::Keep => labelled(pods, READS, "true").collect(),
            Route::Nobody => BTreeSet::new(),
            Route::To(_) => verdict.readers.clone(),
        };
        let mut readers: BTreeSet<_> = may_read.iter().copied().filter(answers).collect();
        if readers.is_empty() {
            readers = primary.into_iter().collect();
        }
        let in_group = |member: &Ordinal| {
            let view = met.get(member).and_then(Met::statement).map(|said| &said.view);
            view.zip(primary).is_some_and(|(view, primary)| view.is_with(primary))
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
            tracing::info!(pod, role, reads, "clients are led anew");
            answered(format!("Pod {pod}"), label(&self.client, &namespace, pod, role, reads))
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
                .map(|pod| answered(format!("Pod {pod}"), admit(&self.client, &namespace, pod, inside)))
        });
        let services = self.cache.services(&wanted.stack).map_err(|error| error.to_string())?;
        let writes = services.iter().find(|service| service.name_any() == wanted.names.set);
        let there = writes.and_then(|writes| writes.spec.as_ref()?.selector.as_ref()?.get(POD_NAME));
        let primary_pod = primary.map(|member| wanted.names.pod(member));
        let moved = there.and_then(|there| renamed(verdict.route, primary_pod.as_deref(), there)).map(|pod| {
            let service = wanted.names.set.clone();
            tracing::info!(service, pod, "writes are led anew");
            answered(format!("Service {service}"), select(&self.client, &namespace, service, pod))
        });
        // The Service comes first: it is what writers wait for.
        let moved = OptionFuture::from(moved);
        let all = future::join3(moved, future::join_all(patched), future::join_all(gates));
        let (moved, patched, admitted) = all.await;
        let primary = primary.filter(|_| !matches!(moved, Some(Err(_))));
        let refused = moved.into_iter().chain(patched).chain(admitted).filter_map(Result::err);
        Ok((primary, refused.collect()))
    }
}

fn labelled(pods: &BTreeMap<Ordinal, Pod>, label: &str, value: &str) -> impl Iterator<Item = Ordinal> {
    let has = move |pod: &Pod| pod.labels().get(label).is_some_and(|there| there == value);
    pods.iter().filter(move |(_, pod)| has(pod)).map(|(&member, _)| member)
}

/// To whom writes are led, as the Pods' labels say.
pub(super) fn led(pods: &BTreeMap<Ordinal, Pod>) -> Option<Ordinal> {
    labelled(pods, ROLE, "primary").next()
}

/// Whom the Service for writes has to name in the place of `named`, if somebody else. `primary` is who is labelled so
/// where clients are kept where they are: a Pod that was made anew has no label, and the name of the one before it.
fn renamed<'a>(route: Route, primary: Option<&'a str>, named: &str) -> Option<&'a str> {
    match (route, primary) {
        (Route::Keep, Some(_)) => None,
        (_, primary) => Some(primary.unwrap_or(NOBODY)).filter(|now| *now != named),
    }
}

fn is_in_group(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == IN_GROUP && condition.status == "True")
}

/// Leads a Service to one Pod, or to none by [`NOBODY`]. A Service that has gone is no error.
async fn select(client: &Client, namespace: &str, service: String, pod: &str) -> Result<(), kube::Error> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let how = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"selector": {POD_NAME: pod}}}));
    gone_is_fine(api.patch(&service, &how, &patch).await)
}

/// Says of a Pod what clients may do with it. A Pod that has gone is no error.
async fn label(
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

/// Says of a Pod whether it is in its group, without which it is not ready. A Pod that has gone is no error.
async fn admit(client: &Client, namespace: &str, pod: String, inside: bool) -> Result<(), kube::Error> {
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
    use rstest::rstest;

    #[rstest]
    #[case::another_primary(Route::To(1), Some("db-1"), "db-0", Some("db-1"))]
    #[case::the_same(Route::To(1), Some("db-1"), "db-1", None)]
    #[case::the_first(Route::To(0), Some("db-0"), NOBODY, Some("db-0"))]
    #[case::nobody_serves(Route::Nobody, None, "db-0", Some(NOBODY))]
    #[case::nobody_served(Route::Nobody, None, NOBODY, None)]
    #[case::unclear(Route::Keep, Some("db-0"), "db-0", None)]
    #[case::unclear_and_labels_are_old(Route::Keep, Some("db-0"), "db-1", None)]
    #[case::who_was_named_is_another_pod_now(Route::Keep, None, "db-0", Some(NOBODY))]
    fn the_service_for_writes_names(
        #[case] route: Route,
        #[case] primary: Option<&str>,
        #[case] named: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(renamed(route, primary, named), expected);
    }
}
