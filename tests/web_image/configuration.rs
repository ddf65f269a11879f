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
#[case("RATE_LIMIT=fast", "RATE_LIMIT is \"fast\": give requests per second from 1 to 100000")]
#[case("RATE_LIMIT_BURST=10", "RATE_LIMIT_BURST needs RATE_LIMIT")]
#[case("CLIENT_REQUEST_LIMIT=0", "CLIENT_REQUEST_LIMIT is \"0\": ")]
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
    // supervisord is a Python program: on a busy machine that alone takes a second or two.
    assert!(container.lifetime() < Duration::from_secs(4), "{:?}", container.lifetime());
    let stderr = container.stderr();
    assert!(stderr.contains("app: DATABASE_URL is wrong\n"), "{stderr}");
    assert!(!stderr.contains("inherited sockets"), "nginx was started: {stderr}");
    assert_eq!(container.stdout(), "");
}

#[rstest]
#[case(&[], "DATABASE_HOST is not set: ")]
#[case(&["-e", "DATABASE_URL=nonsense"], "DATABASE_URL is not allowed: ")]
#[case(&["-e", "DATABASE_PASSWORD_FILE=/nonexistent", "-e", "DATABASE_HOST=a", "-e", "DATABASE_NAME=b", "-e", "DATABASE_USER=c"],
    "DATABASE_PASSWORD_FILE names /nonexistent, which cannot be read: ")]
#[case(&["-e", "LOG_LEVEL=loud", "-e", "DATABASE_URL=mysql://a:b@c/d"], "LOG_LEVEL is \"loud\": ")]
fn what_our_own_application_refuses_is_one_line_too(#[case] options: &[&str], #[case] message: &str) {
    let container = strict(&image_or_skip!(), &[options, &["-e", "APP_COMMAND=webapp serve"]].concat());
    assert_eq!(container.exit_code(10), 1);
    assert!(container.lifetime() < Duration::from_secs(1), "{:?}", container.lifetime());
    let stderr = container.stderr();
    assert!(stderr.starts_with(&format!("webapp: {message}")) && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(container.stdout(), "");
}

#[test]
fn a_check_that_fails_is_the_end_and_one_that_succeeds_is_not() {
    let image = image_or_skip!();
    let check = "APP_CHECK=sh -c 'echo \"$LISTEN\" >&2; exit ${CODE:-0}'";
    let refused = strict(&image, &["-e", check, "-e", "CODE=78"]);
    assert_eq!(refused.exit_code(10), 78);
    assert_eq!(refused.stderr(), "unix:/run/tandem/app.sock\n");
    strict(&image, &["-e", check]).serving();
}
