//! Trap 6: a bad variable is one line, and nothing starts.

use std::time::Duration;

use rstest::rstest;

use crate::image::{image_or_skip, strict};

#[rstest]
#[case("PORT=http", "PORT is \"http\": ")]
#[case("PORT=", "PORT is set but empty")]
#[case("WEB_ROLE=both", "WEB_ROLE is \"both\": give app or proxy")]
#[case("LISTEN=/run/app.sock", "LISTEN is \"/run/app.sock\": ")]
#[case("LISTEN=127.0.0.1:8080", "LISTEN and PORT are both port 8080")]
#[case("APP_COMMAND=nosuch serve", "APP_COMMAND is \"nosuch\": give a program in PATH")]
#[case("APP_COMMAND=python3 'x", "APP_COMMAND is \"python3 'x\": ")]
#[case("BODY_SIZE_LIMIT=1m; return 200", "BODY_SIZE_LIMIT is ")]
#[case("PROXY_UPSTREAM=web", "PROXY_UPSTREAM is \"web\": give HOST:PORT")]
#[case("TRUSTED_PROXIES=10.0.0.0/99", "TRUSTED_PROXIES is ")]
#[case("SHUTDOWN_TIMEOUT=-1", "SHUTDOWN_TIMEOUT is \"-1\": ")]
fn a_bad_variable_is_refused(#[case] variable: &str, #[case] message: &str) {
    let container = strict(&image_or_skip!(), &["-e", variable]);
    assert_eq!(container.exit_code(10), 1);
    assert!(container.lifetime() < Duration::from_secs(2), "{:?}", container.lifetime());
    let stderr = container.stderr();
    assert!(stderr.starts_with(&format!("tandem-web: {message}")) && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(container.stdout(), "");
}

#[test]
fn an_application_that_refuses_its_variables_never_has_a_web_server() {
    let command = "APP_COMMAND=sh -c 'echo app: DATABASE_URL is wrong >&2; exit 78'";
    let container = strict(&image_or_skip!(), &["-e", command]);
    assert_eq!(container.exit_code(10), 78);
    assert!(container.stderr().contains("app: DATABASE_URL is wrong\n"), "{}", container.stderr());
    assert!(!container.sh("ls /run/tandem/nginx.pid").status.success());
    assert_eq!(container.stdout(), "");
}
