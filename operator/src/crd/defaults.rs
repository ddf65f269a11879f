//! What a field is when the user leaves it out. The API server writes these values into the resource.

use super::{Storage, Web, WebService};

pub(super) fn mysql_image() -> String {
    "tandem/mysql".to_owned()
}

pub(super) fn web_image() -> String {
    "tandem/web".to_owned()
}

pub(super) fn one() -> i32 {
    1
}

pub(super) fn replicas() -> i32 {
    2
}

pub(super) fn target_cpu() -> i32 {
    80
}

pub(super) fn mysql_port() -> i32 {
    3306
}

pub(super) fn http_port() -> i32 {
    80
}

pub(super) fn database() -> String {
    "employees".to_owned()
}

pub(super) fn user() -> String {
    "app".to_owned()
}

pub(super) fn storage_size() -> String {
    "10Gi".to_owned()
}

pub(super) fn migrate_command() -> Vec<String> {
    vec!["webapp".to_owned(), "migrate".to_owned()]
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: storage_size(), class_name: None, auto_grow: None }
    }
}

impl Default for WebService {
    fn default() -> Self {
        Self {
            type_: super::ServiceType::default(),
            port: http_port(),
            node_port: None,
            annotations: Default::default(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            image: web_image(),
            image_pull_policy: super::PullPolicy::default(),
            replicas: replicas(),
            autoscaling: None,
            migrate_command: migrate_command(),
            env: Vec::new(),
            env_from: Vec::new(),
            resources: None,
            affinity: None,
            node_selector: Default::default(),
            tolerations: Vec::new(),
            topology_spread_constraints: Vec::new(),
            service: WebService::default(),
            ingress: None,
        }
    }
}
