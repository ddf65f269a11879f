//! kubectl, a namespace per test, and what stacks look like through them. What tests wait for is read from the API
//! server itself: to start kubectl again and again costs more than what runs in the Pods.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use kube::api::{Api, ApiResource, DynamicObject, ListParams, TypeMeta};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tandem_tests::docker::{ok, unique, wait_for};
use tandem_tests::http::{Answer, get};

/// How long anything may take that starts containers, in seconds: machines are shared.
pub(crate) const PATIENCE: u64 = 120;

/// How soon a problem must be told, in seconds.
pub(crate) const SOON: u64 = 10;

/// The challenge's answer, in its order.
pub(crate) const CHALLENGE: [&str; 9] =
    ["223595", "270794", "284045", "235729", "74344", "424584", "80850", "433260", "248758"];

/// Ends a test that has no cluster, and says so.
macro_rules! cluster_or_skip {
    () => {
        match crate::kubectl::cluster() {
            Some(cluster) => cluster,
            None => {
                eprintln!("skipped: TEST_KUBECONFIG names no cluster");
                return;
            }
        }
    };
}
pub(crate) use cluster_or_skip;

/// The cluster, with the operator installed from `manifests/`.
pub(crate) struct Cluster {
    kubeconfig: String,
    reader: OnceLock<Reader>,
}

/// The API server, and how resources are called there.
struct Reader {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// By each of their names: plural, short, and the kind in small letters.
    resources: HashMap<String, ApiResource>,
}

impl Reader {
    /// `table` is what `kubectl api-resources` prints.
    fn new(kubeconfig: &str, table: &str) -> Self {
        // Its sockets go on while nobody waits.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        });
        let mut resources = HashMap::new();
        for line in table.lines() {
            let columns: Vec<_> = line.split_whitespace().collect();
            let (plural, short, [api_version, _, kind]) = match columns[..] {
                [plural, api_version, namespaced, kind] => (plural, "", [api_version, namespaced, kind]),
                [plural, short, api_version, namespaced, kind] => (plural, short, [api_version, namespaced, kind]),
                _ => panic!("{line}"),
            };
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
            };
            for name in short.split(',').chain([plural, &kind.to_lowercase()]) {
                // The first of two that are called the same, as kubectl does it.
                resources.entry(name.to_owned()).or_insert_with(|| resource.clone());
            }
        }
        Self { runtime, client, resources }
    }

    fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let (api, types) = self.api(namespace, kind);
        let found = self.runtime.block_on(api.get_opt(name)).ok()?;
        found.map(|object| document(object, types))
    }

    fn list(&self, namespace: &str, kind: &str, label: &str) -> Vec<Value> {
        let (api, types) = self.api(namespace, kind);
        let found = self.runtime.block_on(api.list(&ListParams::default().labels(label))).unwrap();
        found.items.into_iter().map(|object| document(object, types.clone())).collect()
    }

    fn api(&self, namespace: &str, kind: &str) -> (Api<DynamicObject>, TypeMeta) {
        let resource = self.resources.get(&kind.to_lowercase()).expect(kind);
        let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        (Api::namespaced_with(self.client.clone(), namespace, resource), types)
    }
}

/// As kubectl shows it: in lists, the API server leaves the kind out.
fn document(mut object: DynamicObject, types: TypeMeta) -> Value {
    object.types = Some(types);
    serde_json::to_value(object).unwrap()
}

/// The cluster, if there is one.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let found = CLUSTER.get_or_init(|| {
        let kubeconfig = std::env::var("TEST_KUBECONFIG").ok().filter(|path| !path.is_empty())?;
        let cluster = Cluster { kubeconfig, reader: OnceLock::new() };
        cluster.ok(&["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests")]);
        cluster.ok(&["-n", "tandem-system", "rollout", "status", "deployment/tandem-operator", "--timeout=120s"]);
        Some(cluster)
    });
    found.as_ref()
}

impl Cluster {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        command
    }

    /// To be used once the operator's own resource is there.
    fn reader(&self) -> &Reader {
        self.reader.get_or_init(|| Reader::new(&self.kubeconfig, &self.ok(&["api-resources", "--no-headers"])))
    }

    /// Runs kubectl.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a kubectl that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        ok(&format!("kubectl {arguments:?}"), self.run(arguments))
    }

    /// An object in a namespace that is no test's, if it is there.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        self.reader().get(namespace, kind, name)
    }

    /// A namespace of its own for a test.
    pub(crate) fn namespace(&'static self) -> Namespace {
        let name = unique("cluster");
        self.ok(&["create", "namespace", &name]);
        Namespace { cluster: self, name }
    }
}

/// A namespace, deleted at the end with all that is in it.
pub(crate) struct Namespace {
    /// Where it is.
    pub(crate) cluster: &'static Cluster,
    /// What it is called.
    pub(crate) name: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = ["logs", "--prefix", "--tail=20", "-l", "app.kubernetes.io/component in (web,migration,mysql)"];
            for what in [&["get", "ws,pods,jobs,pvc", "-o", "wide"][..], &["describe", "ws"], &["get", "events"], &logs]
            {
                let shown = self.run(what);
                eprintln!("── {what:?}\n{}", String::from_utf8_lossy(&shown.stdout));
            }
        }
        self.cluster.run(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

impl Namespace {
    fn words<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        ["-n", &self.name].into_iter().chain(arguments.iter().copied()).collect()
    }

    /// Runs kubectl here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.cluster.run(&self.words(arguments))
    }

    /// Standard output of a kubectl that must succeed here.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.cluster.ok(&self.words(arguments))
    }

    /// Applies a document; `Err` with kubectl's words where the API server refuses it.
    pub(crate) fn try_apply(&self, document: &Value) -> Result<(), String> {
        self.apply_text(&document.to_string())
    }

    /// Applies documents as YAML or JSON.
    pub(crate) fn apply_text(&self, text: &str) -> Result<(), String> {
        let mut command = self.cluster.command(&self.words(&["apply", "-f", "-"]));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(words) }
    }

    /// Applies a document that is right.
    pub(crate) fn apply(&self, document: &Value) {
        self.try_apply(document).unwrap();
    }

    /// A small stack called `shop` that serves.
    pub(crate) fn serving(&self) -> Stack<'_> {
        let stack = self.stack("shop", small());
        stack.settled();
        stack
    }

    /// Applies a WebStack.
    pub(crate) fn stack(&self, name: &str, spec: Value) -> Stack<'_> {
        self.apply(&web_stack(name, spec));
        Stack::of(self, name)
    }

    /// An object, if it is there.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.get(&self.name, kind, name)
    }

    /// All objects of these kinds, with commas between them, that carry a label.
    pub(crate) fn list(&self, kinds: &str, label: &str) -> Vec<Value> {
        kinds.split(',').flat_map(|kind| self.cluster.reader().list(&self.name, kind, label)).collect()
    }
}

/// A WebStack's document.
pub(crate) fn web_stack(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tandem.dev/v1alpha1", "kind": "WebStack", "metadata": {"name": name}, "spec": spec})
}

/// A small stack: the sample, a small volume, pages on a port of the node.
pub(crate) fn small() -> Value {
    json!({
        "mysql": {"dataset": "small", "storage": {"size": "1Gi"}},
        "web": {"service": {"type": "NodePort"}},
    })
}

/// Whether a Pod is ready.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// A WebStack in a namespace.
pub(crate) struct Stack<'a> {
    namespace: &'a Namespace,
    /// What it is called.
    pub(crate) name: String,
}

impl<'a> Stack<'a> {
    /// One that was made in another way.
    pub(crate) fn of(namespace: &'a Namespace, name: &str) -> Self {
        Self { namespace, name: name.to_owned() }
    }

    /// The resource.
    pub(crate) fn get(&self) -> Value {
        self.namespace.get("webstack", &self.name).unwrap_or_default()
    }

    /// `(status, reason, message)` of a condition that is about the newest spec; else three empty texts.
    pub(crate) fn condition(&self, type_: &str) -> (String, String, String) {
        let stack = self.get();
        let generation = &stack["metadata"]["generation"];
        let conditions = stack["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let current = |c: &&Value| c["type"] == type_ && c["observedGeneration"] == *generation;
        let found = conditions.iter().find(current).cloned().unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Waits until a condition has this status and, if one is given, this reason; returns its message.
    pub(crate) fn wait(&self, type_: &str, status: &str, reason: &str, seconds: u64) -> String {
        let mut last = Default::default();
        wait_for(&format!("{} {type_}={status} {reason}", self.name), seconds, || {
            last = self.condition(type_);
            (last.0 == status && (reason.is_empty() || last.1 == reason)).then(|| last.2.clone())
        })
    }

    /// Waits until all is as the spec says.
    pub(crate) fn settled(&self) {
        self.wait("Ready", "True", "", PATIENCE);
        self.wait("Progressing", "False", "UpToDate", PATIENCE);
    }

    /// Changes the spec.
    pub(crate) fn patch(&self, spec: Value) {
        let patch = json!({"spec": spec}).to_string();
        self.namespace.ok(&["patch", "webstack", &self.name, "--type", "merge", "-p", &patch]);
    }

    /// Waits until that many web Pods are ready of that many wanted.
    pub(crate) fn web(&self, ready: &str) {
        wait_for(&format!("{} web {ready}", self.name), PATIENCE, || {
            (self.get()["status"]["web"]["ready"] == ready).then_some(())
        });
    }

    fn pods(&self, component: &str) -> Vec<Value> {
        self.namespace.list("pods", &format!("{},app.kubernetes.io/component={component}", self.label()))
    }

    /// The uids of a component's Pods, also of those that are about to go.
    pub(crate) fn uids(&self, component: &str) -> Vec<String> {
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.pods(component).iter().map(uid).collect()
    }

    /// Waits until all of a component's Pods are others than these, and ready: also for a roll that no change of the
    /// spec has set off.
    pub(crate) fn replaced(&self, component: &str, before: &[String]) {
        wait_for(&format!("other Pods of {} {component}", self.name), PATIENCE, || {
            let pods = self.pods(component);
            let is_new = |pod: &Value| before.iter().all(|uid| pod["metadata"]["uid"] != uid.as_str());
            (!pods.is_empty() && pods.iter().all(|pod| is_new(pod) && is_ready(pod))).then_some(())
        });
    }

    /// Where the pages are: a node's address, which the status tells.
    pub(crate) fn address(&self) -> SocketAddr {
        let stack = self.get();
        let url = stack["status"]["url"].as_str().unwrap_or_default();
        url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect(url)
    }

    /// A page.
    pub(crate) fn page(&self, path: &str) -> Option<Answer> {
        get(self.address(), path)
    }

    /// What a statement answers, as root, in the database's Pod.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let pod = format!("{}-mysql-0", self.name);
        let script = format!(
            "exec mysql -uroot -p\"$(cat $MYSQL_ROOT_PASSWORD_FILE)\" -N -e \"{statement}\" employees 2>/dev/null"
        );
        self.namespace.ok(&["exec", &pod, "--", "sh", "-c", &script])
    }

    /// Writes a row that must never get lost.
    pub(crate) fn keep_a_row(&self) {
        self.sql("CREATE TABLE kept (a INT PRIMARY KEY); INSERT INTO kept VALUES (7)");
    }

    /// That row is there.
    pub(crate) fn has_kept_it(&self) {
        assert_eq!(self.sql("SELECT a FROM kept"), "7");
    }

    /// The label that all objects of the stack carry.
    pub(crate) fn label(&self) -> String {
        format!("app.kubernetes.io/instance={}", self.name)
    }

    /// How many events of this reason there are about the stack, repetitions not counted.
    pub(crate) fn events(&self, reason: &str) -> usize {
        let fields = format!("involvedObject.name={},reason={reason}", self.name);
        self.namespace.ok(&["get", "events", "--field-selector", &fields, "-o", "name"]).lines().count()
    }
}
