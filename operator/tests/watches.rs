//! Watches that break while something changes: the controller hears of it all the same.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::sync::Arc;
use std::time::Duration;

use fixture::api::{Api, Break, Cluster, STACK};
use rstest::rstest;
use serde_json::json;
use tandem_environment::Environment;
use tandem_operator::config::Config;
use tandem_operator::controller;

const SERVICE: &str = "/api/v1/namespaces/default/services/shop-web";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/shop-web";

/// Longer than a watch stays broken, and shorter than it takes until a stack is looked at again without any news.
const SOON: Duration = Duration::from_secs(20);

async fn until(cluster: &Cluster, is_so: impl Fn(&Api) -> bool) {
    let wait = async {
        while !is_so(&cluster.api()) {
            // Of virtual time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

fn port_is(api: &Api, port: i32) -> bool {
    api.objects.get(SERVICE).is_some_and(|service| service["spec"]["ports"][0]["port"] == port)
}

/// How often a kind was listed or watched.
fn asked(cluster: &Cluster, path: &str) -> usize {
    cluster.api().asked.get(path).copied().unwrap_or_default()
}

/// Runs the controller until a stack has its objects, and then until `arrives` after `changes`, which happens while all
/// watches break; says how often the changed kind was listed or watched anew.
async fn after(how: Option<Break>, changed: &str, changes: impl Fn(&mut Api), arrives: impl Fn(&Api) -> bool) -> usize {
    let cluster = Cluster::new(json!({"mysql": {}}));
    cluster.api().tells = true;
    let config = Config::read(&Environment::default()).unwrap();
    let run = controller::run(cluster.clients(), &config, Arc::default(), std::future::pending());
    let test = async {
        until(&cluster, |api| api.objects.contains_key(DEPLOYMENT) && port_is(api, 80)).await;
        // All of that was told, too.
        tokio::time::sleep(SOON).await;
        let before = asked(&cluster, changed);
        {
            let mut api = cluster.api();
            changes(&mut api);
            if let Some(how) = how {
                api.break_watches(how);
            }
        }
        until(&cluster, arrives).await;
        asked(&cluster, changed) - before
    };
    tokio::select! {
        () = run => unreachable!("nobody has told it to stop"),
        asked = test => asked,
    }
}

#[rstest]
#[case::never(None, 0)]
#[case::and_go_on(Some(Break::End), 1)]
#[case::and_cannot_go_on(Some(Break::Forgotten), 3)]
#[case::and_say_that_they_cannot_go_on(Some(Break::Expired), 2)]
#[tokio::test(start_paused = true)]
async fn a_change_arrives_though_watches_break(#[case] how: Option<Break>, #[case] requests: usize) {
    let stacks = "/apis/tandem.dev/v1alpha1/webstacks";
    let changes = |api: &mut Api| {
        api.objects.get_mut(STACK).unwrap()["spec"]["web"]["service"]["port"] = json!(8080);
    };
    let asked = after(how, stacks, changes, |api| port_is(api, 8080)).await;
    assert_eq!(asked, requests);
}

#[rstest]
#[case::never(None)]
#[case::and_go_on(Some(Break::End))]
#[case::and_cannot_go_on(Some(Break::Forgotten))]
#[case::and_say_that_they_cannot_go_on(Some(Break::Expired))]
#[tokio::test(start_paused = true)]
async fn what_was_deleted_comes_back_though_watches_break(#[case] how: Option<Break>) {
    let changes = |api: &mut Api| {
        api.objects.remove(SERVICE).unwrap();
    };
    let asked = after(how, "/api/v1/services", changes, |api| port_is(api, 80)).await;
    assert_eq!(asked > 0, how.is_some());
}
