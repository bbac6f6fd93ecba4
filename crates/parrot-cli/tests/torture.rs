//! Real faults on the real binary, in their short form. `cargo xtask torture` runs the long form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::time::Duration;

use parrot_torture::{Conditions, room_for_connections, run_all, scenarios};

#[test]
fn the_server_withstands_every_real_fault() {
    let conditions = Conditions {
        server: env!("CARGO_BIN_EXE_parrot").into(),
        output: Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture"),
        time: Duration::from_millis(300),
        short: true,
        room: room_for_connections(),
    };
    let mut scenarios = scenarios();
    scenarios.retain(|scenario| cfg!(feature = "admin") || scenario.name != "bad-pages");
    let tally = run_all(&scenarios, &conditions, &mut stdout()).unwrap();
    assert_eq!(tally.failed, 0, "see above for what did not hold");
    for (scenario, reason) in &tally.skipped {
        // Written directly, because libtest hides what macros print in a test that passes.
        writeln!(stderr(), "SKIPPED: {}: {reason}", scenario.name).unwrap();
    }
    let wrongly = tally.skipped.iter().filter(|(scenario, _)| !scenario.may_be_skipped());
    let wrongly: Vec<&str> = wrongly.map(|(scenario, _)| scenario.name).collect();
    assert!(wrongly.is_empty(), "skipped, though this system can run them: {wrongly:?}");
    assert!(tally.passed > 0, "nothing could run here");
}
