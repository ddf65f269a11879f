//! The whole system under docker-compose, as a user runs it: both versions of the command, scaling under load, and
//! each part's death and return.
//!
//! TEST_COMPOSE=1 runs it; the images must exist. Projects have names, ports and secrets of their own, so that a system
//! that runs on this machine is left alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its tools do")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tandem_tests::docker::{docker, docker_ok, image, ok, unique, wait_for};
use tandem_tests::http::{Answer, get, under_load};

/// The challenge's answer, in its order.
const CHALLENGE: [&str; 9] = ["223595", "270794", "284045", "235729", "74344", "424584", "80850", "433260", "248758"];

/// A project, removed at the end with its volumes.
struct Project {
    name: String,
    folder: PathBuf,
    command: Vec<String>,
    dataset: &'static str,
}

impl Project {
    /// The compose file in a folder of its own, so that its secrets are new. `command`: which docker-compose.
    fn new(command: &[&str], dataset: &'static str) -> Self {
        let name = unique("compose");
        let folder = std::env::temp_dir().join(&name);
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        std::fs::create_dir_all(folder.join("compose/secrets")).unwrap();
        for file in [".env", "compose/compose.yaml"] {
            std::fs::copy(format!("{root}/{file}"), folder.join(file)).unwrap();
        }
        Self { name, folder, command: command.iter().map(|&word| word.to_owned()).collect(), dataset }
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        let (program, first) = self.command.split_first().unwrap();
        Command::new(program)
            .args(first)
            .args(arguments)
            .current_dir(&self.folder)
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("HTTP_PORT", "0")
            .env("MYSQL_DATASET", self.dataset)
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        ok(&format!("{:?} {arguments:?}", self.command), self.try_run(arguments))
    }

    /// `up -d`, and all of it healthy.
    fn up(self) -> Self {
        self.run(&["up", "-d"]);
        self.wait_until_healthy();
        self
    }

    fn wait_until_healthy(&self) {
        for service in ["mysql", "web", "front"] {
            wait_for(&format!("{service} is healthy"), 180, || self.healthy(service).then_some(()));
        }
    }

    fn id(&self, service: &str) -> String {
        self.run(&["ps", "-q", service]).lines().next().unwrap_or_default().to_owned()
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        docker_ok(&["inspect", "-f", format, &self.id(service)])
    }

    /// Whether all of a service's containers are.
    fn healthy(&self, service: &str) -> bool {
        let containers = self.run(&["ps", "-q", service]);
        let health = |id: &str| docker_ok(&["inspect", "-f", "{{.State.Health.Status}}", id]);
        !containers.is_empty() && containers.lines().all(|id| health(id) == "healthy")
    }

    /// Where the front is published.
    fn address(&self) -> SocketAddr {
        let ports = docker_ok(&["port", &self.id("front"), "8080/tcp"]);
        let port = ports.lines().next().unwrap().rsplit(':').next().unwrap();
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        get(self.address(), path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// Kills a process inside of a service's container by the name of its program.
    fn kill(&self, service: &str, program: &str) {
        let script = format!(
            "for p in /proc/[0-9]*; do case \"$(readlink $p/exe)\" in */{program}) kill -9 ${{p#/proc/}}; exit;; esac; done; exit 1"
        );
        docker_ok(&["exec", &self.id(service), "sh", "-c", &script]);
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.try_run(&["logs", "--no-color", "--tail", "40"]);
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        self.try_run(&["down", "--volumes", "--remove-orphans"]);
        // The secrets belong to root; whoever runs Docker can be root in a container.
        let mount = format!("{}:/folder", self.folder.display());
        docker(&[
            "run",
            "--rm",
            "--user",
            "0",
            "-v",
            &mount,
            "--entrypoint",
            "rm",
            "tandem/mysql",
            "-rf",
            "/folder/compose",
        ]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn compose_v1() -> Vec<&'static str> {
    if Command::new("docker-compose").arg("version").output().is_ok_and(|o| o.status.success()) {
        vec!["docker-compose"]
    } else {
        vec!["docker", "compose"]
    }
}

/// Whether the tests were asked for.
macro_rules! only_when_asked {
    () => {
        if image("TEST_COMPOSE").is_none() {
            return;
        }
    };
}

fn the_nine_rows(page: &str) -> bool {
    let positions: Option<Vec<usize>> = CHALLENGE.iter().map(|number| page.find(&format!(">{number}<"))).collect();
    positions.is_some_and(|p| p.is_sorted()) && page.matches("1965-02-01").count() >= CHALLENGE.len()
}

#[test]
fn the_system_comes_up_with_new_passwords_and_keeps_its_data_and_forgets_nothing_but_on_demand() {
    only_when_asked!();
    let project = Project::new(&compose_v1(), "full").up();
    let page = project.get("/show");
    assert_eq!(page.status, 200);
    assert!(the_nine_rows(&page.body), "{}", page.body);
    assert!(project.get("/").body.contains("300,024"));
    let check = docker_ok(&["exec", &project.id("mysql"), "tandem-mysql", "verify"]);
    assert!(check.contains("data set complete"), "{check}");
    // The web container cannot see root's password.
    let seen = docker_ok(&["exec", &project.id("web"), "sh", "-c", "ls /secrets; cat /secrets/app/password"]);
    let (folders, password) = seen.split_once('\n').unwrap();
    assert_eq!((folders, password.len()), ("app", 32));
    let volume = docker_ok(&["volume", "ls", "-q", "--filter", &format!("name={}", project.name)]);
    assert_eq!(volume.lines().count(), 1, "{volume}");

    let sql = "CREATE TABLE kept (x INT); INSERT INTO kept VALUES (42)";
    let client = "mysql -uapp -p\"$(cat /secrets/app/password)\" employees";
    docker_ok(&["exec", &project.id("mysql"), "sh", "-c", &format!("{client} -e '{sql}'")]);
    project.run(&["down"]);
    project.run(&["up", "-d"]);
    project.wait_until_healthy();
    let kept = docker_ok(&["exec", &project.id("mysql"), "sh", "-c", &format!("{client} -Ne 'SELECT x FROM kept'")]);
    assert!(kept.ends_with("42"), "{kept}");
    assert!(the_nine_rows(&project.get("/show").body));
}

#[test]
fn scaling_up_and_down_under_load_loses_no_request() {
    only_when_asked!();
    let project = Project::new(&compose_v1(), "small").up();
    let address = project.address();
    let ((), met) = under_load(address, 50, true, "GET", || {
        project.run(&["up", "-d", "--scale", "web=3"]);
        project.wait_until_healthy();
        wait_for("requests reach all three", 10, || {
            let served: std::collections::BTreeSet<_> =
                (0..12).filter_map(|_| get(address, "/healthz")?.header("x-served-by").map(str::to_owned)).collect();
            (served.len() == 3).then_some(())
        });
        project.run(&["up", "-d", "--scale", "web=1"]);
        wait_for("requests reach the one that is left", 30, || {
            let served: std::collections::BTreeSet<_> =
                (0..12).filter_map(|_| get(address, "/healthz")?.header("x-served-by").map(str::to_owned)).collect();
            (served.len() == 1).then_some(())
        });
    });
    let answered: u32 = met.served_by.values().sum();
    println!("{answered} requests, {} lost, {} refused, by {:?}", met.lost.len(), met.refused, met.served_by);
    assert_eq!((met.lost, met.refused), (vec![], 0));
    assert!(met.served_by.len() == 3 && answered > 500);
}

#[test]
fn a_process_that_dies_takes_its_container_with_it_and_compose_brings_it_back() {
    only_when_asked!();
    let project = Project::new(&compose_v1(), "small").up();
    for (service, program) in [("web", "webapp"), ("web", "nginx"), ("front", "nginx"), ("mysql", "mysqld")] {
        let restarts = || project.inspect(service, "{{.RestartCount}}").parse::<u32>().unwrap();
        let before = restarts();
        if service == "mysql" {
            docker_ok(&["kill", "-s", "KILL", &project.id("mysql")]);
            // `docker kill` is the user's word: Docker does not start it again by itself.
            docker_ok(&["start", &project.id("mysql")]);
        } else {
            let began = Instant::now();
            project.kill(service, program);
            wait_for(&format!("{service} ends after {program} was killed"), 10, || (restarts() > before).then_some(()));
            println!("{service}: back {:?} after {program} was killed", began.elapsed());
        }
        project.wait_until_healthy();
        wait_for("pages answer", 30, || get(project.address(), "/show").filter(|a| a.status == 200));
    }
}

#[test]
fn pages_say_in_plain_words_that_the_database_is_away_and_recover_by_themselves() {
    only_when_asked!();
    let project = Project::new(&compose_v1(), "small").up();
    let (web, address) = (project.id("web"), project.address());
    let mysql = project.id("mysql");
    for (harm, remedy) in [(["stop", "-t", "60"], &["start"][..]), (["kill", "-s", "STOP"], &["kill", "-s", "CONT"])] {
        docker_ok(&[&harm[..], &[mysql.as_str()]].concat());
        // A frozen server is found out when it has been silent for a second.
        let away = wait_for("the outage is seen", 3, || {
            let began = Instant::now();
            let answer = get(address, "/show").unwrap();
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            (answer.status == 503).then_some(answer)
        });
        assert!(away.header("retry-after").is_some());
        assert!(away.body.contains("database"), "{}", away.body);
        assert!(!away.body.to_lowercase().contains("sqlx") && !away.body.contains("os error"), "{}", away.body);
        assert_eq!(get(address, "/healthz").unwrap().status, 200);
        assert_eq!(get(address, "/readyz").unwrap().status, 503);
        docker_ok(&[remedy, &[mysql.as_str()]].concat());
        wait_for("the pages are back", 60, || get(address, "/show").filter(|a| a.status == 200));
    }
    assert_eq!(project.id("web"), web);
    assert_eq!(project.inspect("web", "{{.RestartCount}}"), "0");
}

#[test]
fn a_password_that_was_changed_in_its_file_counts_after_a_restart() {
    only_when_asked!();
    let project = Project::new(&compose_v1(), "small").up();
    let odd = "it's \"new\" \\ $HOME `id` ü ";
    let mount = format!("{}/compose/secrets:/secrets", project.folder.display());
    let script = "cat > /secrets/app/password";
    let mut write = Command::new("docker");
    write.args(["run", "--rm", "-i", "--user", "0", "-v", &mount, "--entrypoint", "sh", "tandem/mysql", "-c", script]);
    let mut child = write.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), odd.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    project.run(&["restart", "mysql", "web"]);
    project.wait_until_healthy();
    assert!(the_nine_rows(&project.get("/show").body));
}

#[test]
fn the_second_version_of_compose_runs_the_same_file() {
    only_when_asked!();
    if !docker(&["compose", "version"]).status.success() {
        println!("skipped: there is no docker compose (v2) on this machine");
        return;
    }
    let project = Project::new(&["docker", "compose"], "small").up();
    assert!(the_nine_rows(&project.get("/show").body));
}
