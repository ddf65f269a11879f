//! The web tier.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, PodSpec, PodTemplateSpec, Probe, Service,
    ServiceAccount, ServicePort, ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::pod::{self, SECRETS};
use super::{Surroundings, migration, mysql};
use crate::controller::objects::Objects;
use crate::controller::observe::Observed;
use crate::controller::references;
use crate::crd::{Autoscaling, ServiceType, WebStack};
use crate::names::{self, Component};

/// Where nginx listens in the Pod.
pub(super) const PORT: i32 = 8080;

/// The variables that a user may replace: how long a Pod serves on after it was asked to stop, until everybody has
/// heard of it, and how long requests may then take, in seconds.
const TUNABLE: [(&str, &str); 2] = [("SHUTDOWN_DELAY", "5"), ("SHUTDOWN_TIMEOUT", "20")];

/// Adds the web tier's objects.
pub(super) fn build(observed: &Observed, around: &Surroundings, objects: &mut Objects) {
    let stack = &*observed.stack;
    let web = &stack.spec.web;
    let metadata = || super::metadata(stack, Component::Web);
    let variables = variables(observed, around);
    let pod = pod_spec(stack, &variables);
    let migration = migration::plan(observed, &pod);
    objects.deployments.push(deployment(observed, pod, &variables, migration.holds_back()));
    objects.jobs.extend(migration.job);
    let mut data = variables.clone();
    data.extend(TUNABLE.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // The first version's Pods start beside the migration: ready before it, they would be unready during it.
    let waits = !web.migrate_command.is_empty();
    data.insert("WAIT_FOR_MIGRATIONS".to_owned(), waits.to_string());
    // A server that asks for no share of a busy node's processors may get none for a second: that is no outage. Of
    // several, the next one is asked meanwhile.
    if stack.spec.mysql.is_some() && !observed.is_group() {
        data.insert("DATABASE_CONNECT_TIMEOUT".to_owned(), "3".to_owned());
    }
    objects.config_maps.push(ConfigMap { metadata: metadata(), data: Some(data), ..ConfigMap::default() });
    objects.service_accounts.push(ServiceAccount {
        metadata: metadata(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    objects.services.push(service(stack));
    if let Some(bounds) = web.autoscaling.as_ref().filter(|_| !stack.spec.suspend) {
        objects.autoscalers.push(autoscaler(stack, bounds));
    }
    objects.ingresses.extend(web.ingress.as_ref().map(|wanted| ingress(stack, wanted)));
}

/// What the web container is told, and must be told as it is.
fn variables(observed: &Observed, around: &Surroundings) -> BTreeMap<String, String> {
    let stack = &*observed.stack;
    let namespace = stack.namespace().unwrap_or_default();
    // Complete names with a dot at their end are looked up once; others once for every search domain first.
    let service = |name: String| format!("{name}.{namespace}.svc.{}.", around.cluster_domain);
    let (host, port, database, user, tls) = match (&stack.spec.external_database, &stack.spec.mysql) {
        (Some(external), _) => {
            (external.host.clone(), external.port, &external.database, &external.user, external.tls.mode.name())
        }
        (None, Some(mysql)) => {
            (service(Component::Mysql.of(stack)), mysql::PORT, &mysql.database, &mysql.user, "preferred")
        }
        (None, None) => return BTreeMap::new(),
    };
    let mut variables = BTreeMap::from(
        [
            ("PORT", PORT.to_string()),
            ("WEB_ROLE", "app".to_owned()),
            ("DATABASE_HOST", host),
            ("DATABASE_PORT", port.to_string()),
            ("DATABASE_NAME", database.clone()),
            ("DATABASE_USER", user.clone()),
            ("DATABASE_TLS", tls.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if observed.is_group() {
        variables.insert("DATABASE_READ_HOST".to_owned(), service(names::mysql_read(stack)));
    }
    if stack.spec.external_database.as_ref().is_some_and(|external| external.tls.ca_secret.is_some()) {
        variables.insert("DATABASE_TLS_CA".to_owned(), format!("{SECRETS}-ca/{}", names::CA));
    }
    variables
}

/// The web Pod, which is the migration's too.
fn pod_spec(stack: &WebStack, variables: &BTreeMap<String, String>) -> PodSpec {
    let web = &stack.spec.web;
    let external = stack.spec.external_database.as_ref();
    let credentials =
        external.map_or_else(|| names::credentials(stack), |external| external.credentials_secret.clone());
    let mut volumes = pod::temporary();
    volumes.push(pod::secret_files("credentials", &credentials, &[names::PASSWORD]));
    let mut frame = pod::container("web", &web.image, web.image_pull_policy.name());
    let mounts = frame.volume_mounts.get_or_insert_default();
    mounts.push(pod::mount_read_only("credentials", SECRETS));
    if let Some(authorities) = external.and_then(|external| external.tls.ca_secret.as_ref()) {
        volumes.push(pod::secret_files("authorities", authorities, &[names::CA]));
        mounts.push(pod::mount_read_only("authorities", &format!("{SECRETS}-ca")));
    }
    let config_map = Component::Web.of(stack);
    let mut env = pod::variables_of(&config_map, variables);
    env.push(pod::variable("DATABASE_PASSWORD_FILE", format!("{SECRETS}/{}", names::PASSWORD)));
    let mut env_from = vec![EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: config_map, optional: None }),
        ..EnvFromSource::default()
    }];
    env_from.extend_from_slice(&web.env_from);
    let container = Container {
        env: Some(pod::overridden(env, &web.env)),
        env_from: Some(env_from),
        resources: web.resources.clone(),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            ..ContainerPort::default()
        }]),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(120),
            ..pod::http("/healthz", "http")
        }),
        // Ready is who can show pages: that includes the database and its schema.
        readiness_probe: Some(Probe {
            period_seconds: Some(1),
            timeout_seconds: Some(5),
            failure_threshold: Some(2),
            ..pod::http("/readyz", "http")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            timeout_seconds: Some(5),
            failure_threshold: Some(3),
            ..pod::http("/healthz", "http")
        }),
        ..frame
    };
    PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        // SHUTDOWN_DELAY + SHUTDOWN_TIMEOUT + 2 s, and room for users who raise them.
        termination_grace_period_seconds: Some(60),
        affinity: web.affinity.clone(),
        node_selector: super::optional(web.node_selector.clone()),
        tolerations: super::list(web.tolerations.clone()),
        topology_spread_constraints: Some(if web.topology_spread_constraints.is_empty() {
            vec![spread(stack)]
        } else {
            web.topology_spread_constraints.clone()
        }),
        ..pod::spec(stack, Component::Web)
    }
}

fn spread(stack: &WebStack) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(names::component_labels(stack, Component::Web)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

/// `held_back`: the Pods stay as they are, whatever the spec says, until the migration is done; their number follows
/// it.
fn deployment(observed: &Observed, pod: PodSpec, variables: &BTreeMap<String, String>, held_back: bool) -> Deployment {
    let stack = &*observed.stack;
    let labels = names::component_labels(stack, Component::Web);
    let live = observed.deployment().and_then(|live| Some(live.spec.as_ref()?.template.clone()));
    let checksum = references::checksum(&references::of(stack, Component::Web), &observed.contents, variables);
    let template = || PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some([(names::CONFIG.to_owned(), checksum)].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    };
    Deployment {
        metadata: super::metadata(stack, Component::Web),
        spec: Some(DeploymentSpec {
            replicas: Some(if stack.spec.suspend { 0 } else { stack.spec.web.replicas }),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            revision_history_limit: Some(3),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            template: live.filter(|_| held_back).unwrap_or_else(template),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// For a tier with a problem: leaves its Pods as they are, but for their number. Whether there is one to be changed.
pub(super) fn only_counts(deployment: &mut Deployment, live: &DeploymentSpec) -> bool {
    let Some(spec) = &mut deployment.spec else { return false };
    spec.template = live.template.clone();
    spec.replicas != live.replicas
}

fn service(stack: &WebStack) -> Service {
    let wanted = &stack.spec.web.service;
    Service {
        metadata: ObjectMeta {
            annotations: super::optional(wanted.annotations.clone()),
            ..super::metadata(stack, Component::Web)
        },
        spec: Some(ServiceSpec {
            type_: Some(wanted.type_.name().to_owned()),
            selector: Some(names::component_labels(stack, Component::Web)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: wanted.port,
                target_port: Some(IntOrString::String("http".to_owned())),
                node_port: wanted.node_port.filter(|_| wanted.type_ != ServiceType::ClusterIP),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Scales the stack, not the Deployment: so `spec.web.replicas` is always the number that counts, nobody works against
/// anybody, and `kubectl get ws` tells the truth.
fn autoscaler(stack: &WebStack, bounds: &Autoscaling) -> HorizontalPodAutoscaler {
    HorizontalPodAutoscaler {
        metadata: super::metadata(stack, Component::Web),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(WebStack::api_version(&()).into_owned()),
                kind: WebStack::kind(&()).into_owned(),
                name: stack.name_any(),
            },
            min_replicas: Some(bounds.min_replicas),
            max_replicas: bounds.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(bounds.target_cpu_utilization_percentage),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

fn ingress(stack: &WebStack, wanted: &crate::crd::Ingress) -> Ingress {
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: Component::Web.of(stack),
            port: Some(ServiceBackendPort { name: Some("http".to_owned()), number: None }),
        }),
        resource: None,
    };
    Ingress {
        metadata: ObjectMeta {
            annotations: super::optional(wanted.annotations.clone()),
            ..super::metadata(stack, Component::Web)
        },
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(wanted.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend,
                    }],
                }),
            }]),
            tls: wanted.tls_secret.as_ref().map(|secret| {
                vec![IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(secret.clone()) }]
            }),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}
