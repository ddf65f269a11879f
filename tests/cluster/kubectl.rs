//! kubectl, a namespace per test, and what stacks look like through them.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

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
}

/// The cluster, if there is one.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let found = CLUSTER.get_or_init(|| {
        let cluster = Cluster { kubeconfig: std::env::var("TEST_KUBECONFIG").ok().filter(|path| !path.is_empty())? };
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

    /// Runs kubectl.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a kubectl that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        ok(&format!("kubectl {arguments:?}"), self.run(arguments))
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

    /// An object as JSON, if it is there.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let output = self.run(&["get", kind, name, "-o", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// All objects of a kind that carry a label.
    pub(crate) fn list(&self, kind: &str, label: &str) -> Vec<Value> {
        let text = self.ok(&["get", kind, "-l", label, "-o", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
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
