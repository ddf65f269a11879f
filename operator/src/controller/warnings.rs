//! The warnings that Kubernetes gave about the objects that stacks are made of. Some causes are told nowhere else: a
//! quota or a policy that keeps a StatefulSet's Pods from being created, a volume that cannot be made or mounted.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use kube::runtime::watcher;

/// Which events are watched: warnings, but for the most frequent ones, whose causes a Pod's status tells as well.
pub const SELECTOR: &str = "type=Warning,reason!=FailedScheduling,reason!=BackOff,reason!=Unhealthy";

/// The last warning about each object, by its uid: one of the same name that was there before is another object.
#[derive(Default)]
pub struct Warnings {
    told: HashMap<String, Warning>,
    /// What is being told anew, from the begin of a watch.
    incoming: HashMap<String, Warning>,
}

struct Warning {
    event: String,
    words: String,
}

/// What a warning is about.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// The object's kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Warnings {
    /// The words of the last warning about the object of this uid.
    pub fn about(&self, uid: &str) -> Option<&str> {
        self.told.get(uid).map(|warning| warning.words.as_str())
    }

    /// Takes in what the watch tells; the object that has a new warning.
    pub fn take(&mut self, event: watcher::Event<Event>) -> Option<About> {
        match event {
            watcher::Event::Init => self.incoming.clear(),
            watcher::Event::InitApply(event) => {
                put(&mut self.incoming, event);
            }
            watcher::Event::InitDone => self.told = std::mem::take(&mut self.incoming),
            watcher::Event::Apply(event) => return put(&mut self.told, event),
            // Kubernetes forgets events after an hour.
            watcher::Event::Delete(event) => {
                let uid = event.involved_object.uid.clone().unwrap_or_default();
                if self.told.get(&uid).is_some_and(|warning| warning.event == event.name_any()) {
                    self.told.remove(&uid);
                }
            }
        }
        None
    }
}

fn put(warnings: &mut HashMap<String, Warning>, event: Event) -> Option<About> {
    let name = event.name_any();
    let object = event.involved_object;
    warnings.insert(object.uid?, Warning { event: name, words: event.message? });
    Some(About { kind: object.kind?, namespace: object.namespace?, name: object.name? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn event(name: &str, uid: &str, words: &str) -> Event {
        let object = json!({"kind": "Pod", "namespace": "default", "name": "shop-mysql-0", "uid": uid});
        let metadata = json!({"namespace": "default", "name": name});
        from_value(json!({"metadata": metadata, "involvedObject": object, "message": words})).unwrap()
    }

    #[test]
    fn the_last_warning_about_an_object_counts_until_it_is_forgotten() {
        let mut warnings = Warnings::default();
        let about = warnings.take(watcher::Event::Apply(event("a", "1", "no volume"))).unwrap();
        assert_eq!((about.kind.as_str(), about.name.as_str()), ("Pod", "shop-mysql-0"));
        warnings.take(watcher::Event::Apply(event("b", "1", "no network")));
        assert_eq!((warnings.about("1"), warnings.about("2")), (Some("no network"), None));
        warnings.take(watcher::Event::Delete(event("a", "1", "no volume")));
        assert_eq!(warnings.about("1"), Some("no network"), "an older one was forgotten");
        warnings.take(watcher::Event::Delete(event("b", "1", "no network")));
        assert_eq!(warnings.about("1"), None);
    }

    #[test]
    fn a_watch_that_begins_anew_replaces_what_was_told() {
        let mut warnings = Warnings::default();
        warnings.take(watcher::Event::Apply(event("a", "1", "no volume")));
        warnings.take(watcher::Event::Init);
        warnings.take(watcher::Event::InitApply(event("b", "2", "no network")));
        assert_eq!((warnings.about("1"), warnings.about("2")), (Some("no volume"), None));
        warnings.take(watcher::Event::InitDone);
        assert_eq!((warnings.about("1"), warnings.about("2")), (None, Some("no network")));
    }
}
