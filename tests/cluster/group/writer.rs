//! Somebody who writes all the time, and knows what was acknowledged.

use std::collections::BTreeSet;

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::group::primary;
use crate::kubectl::{Namespace, PATIENCE, Stack};

/// What a statement answers on one member, as root.
pub(crate) fn ask(namespace: &Namespace, pod: &str, statement: &str) -> String {
    namespace.ok(&client(pod, "", statement).each_ref().map(String::as_str)).trim().to_owned()
}

/// The same of one that may be away; `None` also where it gives no answer within 20 s.
pub(crate) fn try_ask(namespace: &Namespace, pod: &str, statement: &str) -> Option<String> {
    let answer = namespace.run(&client(pod, "timeout 20", statement).each_ref().map(String::as_str));
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

fn client(pod: &str, within: &str, statement: &str) -> [String; 6] {
    let script = format!(
        "exec {within} mysql -uroot -p\"$(cat $MYSQL_ROOT_PASSWORD_FILE)\" -N -e \"{statement}\" employees 2>/dev/null"
    );
    ["exec", pod, "--", "sh", "-c", &script].map(str::to_owned)
}

/// A time without an acknowledged row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pause {
    pub(crate) milliseconds: u64,
    /// When the first row afterwards was acknowledged, in milliseconds since 1970.
    pub(crate) until: u64,
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ms", self.milliseconds)
    }
}

/// Writes rows, one after the other, for as long as its Pod lives.
pub(crate) struct Writer<'a>(&'a Namespace);

impl<'a> Writer<'a> {
    /// Of a stack called `shop`.
    pub(crate) fn start(namespace: &'a Namespace) -> Self {
        Self::start_at(namespace, &primary(&Stack::of(namespace, "shop")))
    }

    /// The same where this Pod takes the writes, be it of a group or alone.
    pub(crate) fn start_at(namespace: &'a Namespace, pod: &str) -> Self {
        ask(namespace, pod, "CREATE TABLE acknowledged (number INT PRIMARY KEY)");
        // A new client for each row, ten in a second, whether or not those before it have an answer: one that hangs
        // hides nothing of what the next one meets.
        let script = r#"
            write() {
              sql="INSERT INTO acknowledged VALUES ($1)"
              if timeout 1 mysql --connect-timeout=1 -h shop-mysql -uapp -p"$PASSWORD" employees -e "$sql" 2>/dev/null; then
                echo "$1 $(date +%s%3N)"
              fi
            }
            number=0
            while :; do
              number=$((number + 1))
              write $number &
              sleep 0.1
            done"#;
        let password = json!({"secretKeyRef": {"name": "shop-mysql", "key": "password"}});
        let labels = json!({
            "app.kubernetes.io/component": "migration", "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/managed-by": "tandem-operator", "app.kubernetes.io/name": "webstack",
        });
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer", "labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "writer", "image": "tandem/mysql", "imagePullPolicy": "IfNotPresent",
                    "command": ["bash", "-c", script],
                    "env": [{"name": "PASSWORD", "valueFrom": password}],
                }],
            },
        }));
        // Its log can be read from when it runs.
        namespace.ok(&["wait", "--for=condition=Ready", "pod/writer", &format!("--timeout={PATIENCE}s")]);
        let writer = Self(namespace);
        writer.goes_on(0);
        writer
    }

    /// The rows that were acknowledged, with the time in milliseconds, in the order of that.
    fn acknowledged(&self) -> Vec<(u64, u64)> {
        let log = self.0.ok(&["logs", "writer"]);
        let pair = |line: &str| {
            let (number, time) = line.split_once(' ')?;
            Some((number.parse().ok()?, time.parse().ok()?))
        };
        let mut rows: Vec<(u64, u64)> = log.lines().filter_map(pair).collect();
        rows.sort_by_key(|(_, time)| *time);
        rows
    }

    /// Waits for ten rows more than `before`.
    fn goes_on(&self, before: usize) {
        wait_for("acknowledged rows", PATIENCE, || (self.acknowledged().len() > before + 10).then_some(()));
    }

    /// The longest pause while `run` runs and shortly afterwards.
    pub(crate) fn during(&self, run: impl FnOnce()) -> Pause {
        let before = self.acknowledged().len();
        run();
        self.goes_on(self.acknowledged().len());
        let rows = self.acknowledged();
        let since = rows.get(before.saturating_sub(1)..).unwrap_or_default();
        let pauses = since.windows(2).map(|pair| Pause { milliseconds: pair[1].1 - pair[0].1, until: pair[1].1 });
        pauses.max().unwrap_or_default()
    }

    /// Every acknowledged row is on every member.
    pub(crate) fn none_is_lost(&self) {
        self.none_is_lost_of(&["shop-mysql-0", "shop-mysql-1", "shop-mysql-2"]);
    }

    /// Every acknowledged row is on each of these.
    pub(crate) fn none_is_lost_of(&self, members: &[&str]) {
        let acknowledged: BTreeSet<u64> = self.acknowledged().into_iter().map(|(number, _)| number).collect();
        self.0.ok(&["delete", "pod", "writer", "--grace-period=0", "--force"]);
        for member in members {
            wait_for("all rows", PATIENCE, || {
                let rows = ask(self.0, member, "SELECT number FROM acknowledged");
                let there: BTreeSet<u64> = rows.lines().filter_map(|line| line.parse().ok()).collect();
                acknowledged.is_subset(&there).then_some(())
            });
        }
    }
}
