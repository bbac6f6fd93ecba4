//! An idle log costs no CPU time. Its thread sleeps until a line comes.
//!
//! This test has a file of its own because it looks for the only writer's thread of the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[test]
#[cfg(not(target_os = "linux"))]
fn an_idle_writer_makes_no_wake_ups() {
    println!("skipped: the count of a thread's wake-ups comes from /proc");
}

#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
#[test]
fn an_idle_writer_makes_no_wake_ups() {
    use std::{fs, thread, time::Duration};

    use parrot_log::{Format, Writer};
    use parrot_testkit::{PATIENCE, wait_until};
    use support::{layer, log};

    fn switches() -> u64 {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let writer = tasks
            .filter_map(|task| fs::read_to_string(task.join("status")).ok())
            .find(|status| status.starts_with("Name:\tparrot-log\n"));
        let line = "\nvoluntary_ctxt_switches:\t";
        let status = writer.expect("the writer's thread is there");
        status.split_once(line).unwrap().1.lines().next().unwrap().parse().unwrap()
    }

    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::file(folder.path().join("log"), Format::Clf).unwrap();
    let _default = tracing::dispatcher::set_default(&layer(&writer, 256));
    log(b"the last for a while");
    wait_until("it is written", || writer.statistics().written == 1);
    // The thread gathers once more before it sleeps without a timeout.
    wait_until("the thread sleeps", || {
        let before = switches();
        thread::sleep(Duration::from_millis(300));
        switches() == before
    });
    log(b"the first after it");
    wait_until("it is woken", || writer.statistics().written == 2);
    let _ = writer.close(PATIENCE);
}
