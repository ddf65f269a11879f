//! What all Pods have in common: they run as anybody but root, change nothing but their volumes, and know nothing of
//! the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapKeySelector, Container, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, KeyToPath,
    LifecycleHandler, ObjectFieldSelector, PodSecurityContext, PodSpec, Probe, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::crd::WebStack;
use crate::names::Component;

/// Where secrets are mounted.
pub(super) const SECRETS: &str = "/run/secrets/tandem";

/// A Pod's frame; containers and volumes are the caller's.
pub(super) fn spec(stack: &WebStack, component: Component) -> PodSpec {
    PodSpec {
        service_account_name: Some(match component {
            Component::Migration => Component::Web.of(stack),
            component => component.of(stack),
        }),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: super::list(stack.spec.image_pull_secrets.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            // The images' users are in group 0, and so is any other uid that a cluster may give them.
            fs_group: Some(0),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A container's frame: locked down, with a place for temporary files.
pub(super) fn container(name: &str, image: &str, pull: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull.to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![mount("tmp", "/tmp"), mount("run", "/run")]),
        // The last lines of the log say why a container ended, where it left no message of its own.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// The volumes that [`container`] mounts.
pub(super) fn temporary() -> Vec<Volume> {
    ["tmp", "run"]
        .map(|name| Volume { name: name.to_owned(), empty_dir: Some(Default::default()), ..Volume::default() })
        .into()
}

/// A volume at a path.
pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// The same, read-only.
pub(super) fn mount_read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(volume, path) }
}

/// Some keys of a Secret as files that group 0 can read.
pub(super) fn secret_files(volume: &str, secret: &str, keys: &[&str]) -> Volume {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(keys.iter().map(item).collect()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A variable with a fixed value.
pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

/// A variable with the value of a Pod's own field.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: None, field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// Variables from the keys of a ConfigMap, each by its own name.
pub(super) fn variables_of(config_map: &str, data: &BTreeMap<String, String>) -> Vec<EnvVar> {
    let variable = |name: &String| EnvVar {
        name: name.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: config_map.to_owned(),
                key: name.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    };
    data.keys().map(variable).collect()
}

/// `ours` and then the user's, which replace those of the same name.
pub(super) fn overridden(ours: Vec<EnvVar>, users: &[EnvVar]) -> Vec<EnvVar> {
    let mut all: Vec<EnvVar> =
        ours.into_iter().filter(|ours| !users.iter().any(|user| user.name == ours.name)).collect();
    all.extend_from_slice(users);
    all
}

/// A probe by HTTP.
pub(super) fn http(path: &str, port: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn exec(words: &[&str]) -> Option<ExecAction> {
    Some(ExecAction { command: Some(words.iter().map(|word| (*word).to_owned()).collect()) })
}

/// A probe by a command in the container.
pub(super) fn command(words: &[&str]) -> Probe {
    Probe { exec: exec(words), ..Probe::default() }
}

/// A command in the container at a turn of its life.
pub(super) fn hook(words: &[&str]) -> LifecycleHandler {
    LifecycleHandler { exec: exec(words), ..LifecycleHandler::default() }
}
