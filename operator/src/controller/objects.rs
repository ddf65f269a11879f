//! The kinds of objects that a stack is made of: as the cluster has them, or as they should be.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind that stacks are made of.
pub trait Child:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + k8s_openapi::Resource
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
}

impl<K> Child for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + k8s_openapi::Resource
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static
{
}

/// Objects by kind. Whoever takes it apart names every kind, so that a new one cannot be forgotten.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Identities of the Pods, without any rights.
    pub service_accounts: Vec<ServiceAccount>,
    /// Variables that are no secret.
    pub config_maps: Vec<ConfigMap>,
    /// The generated passwords; their metadata alone is applied.
    pub secrets: Vec<Secret>,
    /// Names and addresses.
    pub services: Vec<Service>,
    /// Who may talk to whom.
    pub network_policies: Vec<NetworkPolicy>,
    /// How many Pods may be away on purpose.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// The database's volumes; the StatefulSet makes them, size and owner are applied.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The database.
    pub stateful_sets: Vec<StatefulSet>,
    /// The migration. Never changed, only created and deleted.
    pub jobs: Vec<Job>,
    /// The web tier.
    pub deployments: Vec<Deployment>,
    /// Its scaling.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// Its name outside.
    pub ingresses: Vec<Ingress>,
}
