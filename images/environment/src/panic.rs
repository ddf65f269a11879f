//! What a panic costs: in most of our programs the whole process.

/// From now on a panic in any thread or task ends the process, after it has said what happened. For programs in which
/// nothing goes on without the part that failed: whoever watches over the process starts all of it again.
pub fn abort_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const NAME: &str = "panic::tests::a_panic_in_any_thread_ends_the_process";
    const INSIDE: &str = "TANDEM_TEST_INSIDE";

    /// The test starts itself once more, as the process that is to end.
    #[test]
    fn a_panic_in_any_thread_ends_the_process() {
        if std::env::var_os(INSIDE).is_some() {
            abort_on_panic();
            let ended = std::thread::spawn(|| panic!("one thread less")).join();
            assert!(ended.is_err());
            return;
        }
        let test = std::env::current_exe().unwrap();
        let ended = Command::new(test).args(["--exact", "--nocapture", NAME]).env(INSIDE, "1").output().unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("one thread less"), "{ended:?}");
    }
}
