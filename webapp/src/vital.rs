//! Tasks that the process cannot do without.
//!
//! A panic ends the task in which it happens, and nothing else: a request gets its 500, and all others go on. A task
//! that everything depends on must not end like this, with nobody to notice. Its panic ends the process, and whoever
//! watches over the process starts it again.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Runs `task`; a panic in it ends the process.
pub(crate) async fn vital<T>(task: impl Future<Output = T>) -> T {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(done) => done,
        // What it said is on standard error already.
        Err(_) => std::process::abort(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const NAME: &str = "vital::tests::a_panic_in_a_vital_task_ends_the_process";
    const INSIDE: &str = "TANDEM_TEST_INSIDE";

    /// The test starts itself once more, as the process that is to end.
    #[tokio::test]
    async fn a_panic_in_a_vital_task_ends_the_process() {
        if std::env::var_os(INSIDE).is_some() {
            let task = tokio::spawn(vital(async { panic!("nobody can do without me") }));
            let _: Result<(), _> = task.await;
            return;
        }
        let test = std::env::current_exe().unwrap();
        let ended = Command::new(test).args(["--exact", NAME]).env(INSIDE, "1").output().unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
    }

    #[tokio::test]
    async fn a_vital_task_that_ends_well_gives_what_it_has_made() {
        assert_eq!(vital(async { 7 }).await, 7);
    }
}
