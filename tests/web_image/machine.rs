//! Traps 4 and 5: workers from the quota, IPv4 and IPv6; a read-only root, any user of group 0, no capability.

use rstest::rstest;

use crate::image::{IPV6, image_or_skip, start, strict};

#[test]
fn workers_follow_the_quota_and_both_protocols_listen() {
    let container = strict(&image_or_skip!(), &["--cpus=0.5", IPV6]).serving();
    let workers = container.sh("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '^nginx: worker process$'");
    assert_eq!(String::from_utf8_lossy(&workers.stdout).trim(), "1");
    for host in ["127.0.0.1", "::1"] {
        let fetch = format!(
            "python3 -c \"import http.client as c; h = c.HTTPConnection('{host}', 8080); \
                             h.request('GET', '/'); print(h.getresponse().status)\""
        );
        assert_eq!(String::from_utf8_lossy(&container.sh(&fetch).stdout).trim(), "200", "{host}");
    }
}

#[test]
fn it_serves_where_ipv6_is_switched_off() {
    strict(&image_or_skip!(), &["--sysctl=net.ipv6.conf.all.disable_ipv6=1"]).serving();
}

#[rstest]
#[case::its_own_user(&[])]
#[case::any_user(&["--user=123456:0"])]
#[case::any_user_and_its_default_group(&["--user=123456"])]
#[case::root_without_capabilities(&["--user=0"])]
fn it_serves_read_only_without_capabilities_as(#[case] options: &[&str]) {
    let container = strict(&image_or_skip!(), options).serving();
    // A body that does not fit into nginx's buffer goes through a file.
    let body = "x".repeat(500_000);
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    assert_eq!(container.request(&request).unwrap().body, "posted\n");
    assert_eq!(container.get("/big?3000000").body.len(), 3_000_000);
    container.stop();
    assert_eq!(container.exit_code(0), 0);
}

#[test]
fn a_run_folder_that_cannot_be_written_is_said_in_one_line() {
    let container = start(&image_or_skip!(), &["--read-only"], &[]);
    assert_eq!(container.exit_code(5), 1);
    assert!(container.stderr().ends_with("mount a tmpfs on /run\n"), "{}", container.stderr());
}
