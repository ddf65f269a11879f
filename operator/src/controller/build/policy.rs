//! Who may talk to whom, and how many Pods may be taken away at once.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Surroundings, mysql, web};
use crate::controller::objects::Objects;
use crate::controller::observe::Observed;
use crate::crd::WebStack;
use crate::names::{self, Component};

/// Adds them.
pub(super) fn build(observed: &Observed, around: &Surroundings, objects: &mut Objects) {
    let stack = &*observed.stack;
    if let Some(spec) = &stack.spec.mysql {
        let clients = [Component::Web, Component::Migration].map(|component| pods(stack, component));
        let operator = NetworkPolicyPeer {
            namespace_selector: Some(labelled("kubernetes.io/metadata.name", &around.namespace)),
            pod_selector: Some(labelled("app.kubernetes.io/name", names::OPERATOR)),
            ip_block: None,
        };
        let mut from = Vec::from(clients);
        from.push(operator);
        // Members of a group talk to each other.
        from.extend(observed.is_group().then(|| pods(stack, Component::Mysql)));
        objects.network_policies.push(policy(stack, Component::Mysql, mysql::PORT, Some(from)));
        objects.disruption_budgets.extend(budget(stack, Component::Mysql, mysql::pods(observed, spec)));
    }
    objects.network_policies.push(policy(stack, Component::Web, web::PORT, None));
    objects.disruption_budgets.extend(budget(stack, Component::Web, stack.spec.web.replicas));
}

fn labelled(name: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(name.to_owned(), value.to_owned())].into()), ..LabelSelector::default() }
}

fn selector(stack: &WebStack, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(names::component_labels(stack, component)), ..LabelSelector::default() }
}

fn pods(stack: &WebStack, component: Component) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector(stack, component)), ..NetworkPolicyPeer::default() }
}

/// `from`: nobody else gets in; `None`: everybody does, to this port alone.
fn policy(stack: &WebStack, component: Component, port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicy {
    NetworkPolicy {
        metadata: super::metadata(stack, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(stack, component)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from,
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::Int(port)),
                    protocol: Some("TCP".to_owned()),
                    end_port: None,
                }]),
            }]),
            egress: None,
        }),
    }
}

/// One at a time. A single Pod may always be moved: a drain that nothing can end helps nobody.
fn budget(stack: &WebStack, component: Component, pods: i32) -> Option<PodDisruptionBudget> {
    let budget = PodDisruptionBudget {
        metadata: super::metadata(stack, component),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(selector(stack, component)),
            max_unavailable: Some(IntOrString::Int(1)),
            // Pods that do not serve may go in any case: they must not block a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    Some(budget).filter(|_| pods >= 2 && !stack.spec.suspend)
}
