//! Nonsense and contradictions are wrong usage, with a reason.

use parrot_testkit::program::run;

use crate::support::{bare_parrot, parrot};

#[test]
fn nonsense_is_wrong_usage_with_a_reason() {
    for (arguments, reason) in [
        (&["--fault", "lag=5ms"][..], "there is no fault \"lag\": expected latency"),
        (&["--fault", "latency"], "latency"),
        (&["--fault", "slice=7..1"], "slice goes from the smallest piece to the largest"),
        (&["--fault", "reset=5,jitter=1ms"], "reset has no \"jitter\""),
        (&["--fault", "latency=5ms,probability=0%"], "leave it out"),
        (&["--fault", "slice=1", "--fault", "slice=2"], "--fault slice is given twice"),
        (&["--fault", "timeout=0", "--fault", "bandwidth=1KiB"], "bandwidth has no effect beside timeout"),
        (&["--fault", "limit-data=5", "--fault", "reset=9"], "reset has no effect beside limit-data"),
        (&["--fault", "stall=0", "--fault", "latency=1ms"], "latency has no effect beside stall"),
        (&["--fault", "latency=0"], "latency needs a time above zero"),
        (&["--listen", "udp:*:0", "--fault", "loss=0%"], "loss of 0% never happens"),
        (&["--fault", "loss=5%"], "--fault loss is for datagrams, so add --listen udp:HOST:PORT"),
        (&["--listen", "udp:*:0", "--fault", "slice=1"], "--fault slice is for connections"),
        (&["--listen", "tcp:*:0,fault=loss=5%"], "loss does not happen to connections"),
        (&["--listen", "udp:*:0,fault=slice=1"], "slice does not happen to datagrams"),
        (&["--listen", "tcp:*:0,fault=slice=1,fault=slice=2"], "slice is given twice"),
        (&["--listen", "tcp:*:0,fault"], "is not an option"),
        (&["--listen", "tcp:*:0,fault=slice=1", "--fault", "reset=0"], "each place has faults of its own"),
        (&["--seed", "5"], "--seed chooses among faults"),
        (&["--fault", "slice=1", "--seed", "-1"], "--seed"),
    ] {
        let ended = run(&mut bare_parrot(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{arguments:?}: no {reason:?} in {}", ended.stderr);
    }
}

#[test]
fn a_check_reads_faults_and_starts_nothing() {
    let ended = run(&mut parrot(&["--check", "--fault", "reset=10KiB,probability=5%", "--seed", "7"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
