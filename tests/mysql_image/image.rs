//! The image under test, and clients that log in to its server.

use std::fmt::Debug;

use tandem_tests::docker::{self, Container, Run, Turn, ok};

/// The data directory.
pub(crate) const DATA: &str = "/var/lib/mysql";

/// The init folder.
pub(crate) const INIT: &str = "/docker-entrypoint-initdb.d";

/// Root's password where a test is not about it.
pub(crate) const ROOT: &str = "r00t";

/// How long a server may take to come up on a machine that is busy with something else.
pub(crate) const START: u64 = 120;

/// The same where it loads the full data set.
pub(crate) const LOAD: u64 = 400;

/// What the log says when the server serves. The first start's temporary server has another socket.
pub(crate) const READY: &str = "socket: '/run/mysqld/mysqld.sock'  port: 3306";

/// The image, and the test's turn.
pub(crate) struct Image {
    pub(crate) name: String,
    _turn: Turn,
}

/// The image under test, with a turn; `None` means that the test is skipped.
pub(crate) fn mysql(turn: fn() -> Turn) -> Option<Image> {
    docker::image("TEST_MYSQL_IMAGE").map(|name| Image { name, _turn: turn() })
}

/// The image under test, or the end of the test. With `alone`, no other test runs beside this one.
macro_rules! image_or_skip {
    () => {
        crate::image::image_or_skip!(turn)
    };
    ($turn:ident) => {
        match crate::image::mysql(tandem_tests::docker::$turn) {
            Some(image) => image,
            None => return,
        }
    };
}
pub(crate) use image_or_skip;

impl Image {
    /// A container with nothing configured.
    pub(crate) fn bare(&self) -> Run {
        Run::of(&self.name).option("--health-interval=400ms")
    }

    /// A container with a root password, whose first start has little to do.
    pub(crate) fn quick(&self) -> Run {
        self.bare().env("MYSQL_ROOT_PASSWORD", ROOT).env("MYSQL_DATASET", "none")
    }

    /// A container with a root password and the small data set.
    pub(crate) fn small(&self) -> Run {
        self.bare().env("MYSQL_ROOT_PASSWORD", ROOT).env("MYSQL_DATASET", "small")
    }
}

/// A `mysql` client in the container.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    container: &'a Container,
    user: &'a str,
    password: &'a str,
    way: &'a str,
}

/// Root through the local socket.
pub(crate) fn root(container: &Container) -> Client<'_> {
    root_with(container, ROOT)
}

/// Root through the local socket, with this password.
pub(crate) fn root_with<'a>(container: &'a Container, password: &'a str) -> Client<'a> {
    Client { container, user: "root", password, way: "--protocol=socket" }
}

/// A user through TCP, as from another container.
pub(crate) fn over_tcp<'a>(container: &'a Container, user: &'a str, password: &'a str) -> Client<'a> {
    Client { container, user, password, way: "--host=127.0.0.1" }
}

impl Client<'_> {
    /// The rows that the statement gives, or the client's words. User and password go through an option file, where
    /// backslashes and quotes are escaped.
    pub(crate) fn query(&self, sql: &str) -> Result<String, String> {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
            format!("\"{text}\"")
        };
        let options = format!("[client]\nuser={}\npassword={}\n", quoted(self.user), quoted(self.password));
        let script = "umask 077; file=/tmp/login.$$; cat >$file
            mysql --defaults-extra-file=$file --connect-expired-password --default-character-set=utf8mb4 -N -B -r \"$@\"
            code=$?; rm $file; exit $code";
        let command = ["sh", "-c", script, "sh", self.way, "-e", sql];
        let output = self.container.exec_with_input(&command, options.as_bytes());
        if output.status.success() {
            return Ok(ok(sql, output));
        }
        Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// The rows that the statement gives.
    pub(crate) fn ok(&self, sql: &str) -> String {
        self.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Asserts that the login is refused.
    pub(crate) fn refused(&self) {
        let error = self.query("SELECT 1").expect_err("a login that must be refused");
        let refused = error.contains("Access denied") || error.contains("is not allowed to connect");
        assert!(refused, "{error}");
    }
}

/// Asserts that the container never served: not with the data that it has, and not to the health check.
pub(crate) fn never_ready(container: &Container) {
    let log = container.log();
    assert!(!log.contains(READY), "it was ready: {log}");
    assert_ne!(container.health(), "healthy");
}

/// Asserts that `text` holds each of `parts`.
pub(crate) fn says<T: AsRef<str> + Debug>(text: &str, parts: &[T]) {
    for part in parts {
        assert!(text.contains(part.as_ref()), "{part:?} is not in {text}");
    }
}
