//! Trap 1: a dead child ends the container, with its code, within 5 s.

use std::time::{Duration, Instant};

use rstest::rstest;
use tandem_tests::docker::wait_for;

use crate::image::{image_or_skip, strict};

#[rstest]
#[case::the_application_exits_with_3("/exit?3", 3)]
#[case::the_application_exits_with_0("/exit?0", 1)]
#[case::the_application_is_killed("/signal?9", 137)]
#[case::the_application_crashes("/signal?11", 139)]
fn the_end_of_the_application_is_the_end_of_the_container(#[case] request: &str, #[case] code: i32) {
    let container = strict(&image_or_skip!(), &[]).serving();
    let begin = Instant::now();
    container.get(request);
    assert_eq!(container.exit_code(5), code);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(container.stderr().contains("tandem-web: app ended by itself with code "), "{}", container.stderr());
}

#[rstest]
#[case::nginx_is_killed("kill -9 $(cat /run/tandem/nginx.pid)", 137)]
#[case::nginx_is_told_to_stop("kill -TERM $(cat /run/tandem/nginx.pid)", 1)]
#[case::supervisord_is_killed("kill -9 $(cat /run/tandem/supervisord.pid)", 137)]
#[case::supervisord_is_told_to_stop("kill -TERM $(cat /run/tandem/supervisord.pid)", 1)]
#[case::the_runner_of_the_application_is_killed(RUNNER, 1)]
fn the_end_of_any_other_process_is_the_end_of_the_container(#[case] script: &str, #[case] code: i32) {
    let container = strict(&image_or_skip!(), &[]).serving();
    let begin = Instant::now();
    container.sh(script);
    assert_eq!(container.exit_code(5), code);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

const RUNNER: &str = r#"for p in /proc/[0-9]*; do
    case "$(tr '\0' ' ' <$p/cmdline)" in "/usr/local/bin/tandem-web run app "*) kill -9 "${p#/proc/}" ;; esac
done"#;

#[test]
fn a_container_that_failed_serves_again_after_a_restart() {
    let container = strict(&image_or_skip!(), &["--restart=on-failure"]).serving();
    container.get("/signal?9");
    wait_for("Docker restarts it", 20, || (container.inspect("{{.RestartCount}}") == "1").then_some(()));
    container.serving();
}
