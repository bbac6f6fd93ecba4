//! Counts what happened in the runs. A point that was never met was not tested.

use crate::profile::Profile;

/// The profiles that can meet a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Both,
    Only(Profile),
}

macro_rules! points {
    (
        faults { $($fault:ident $fault_name:literal $fault_in:expr,)+ }
        faults_of_doors { $($of_doors:ident $of_doors_name:literal $of_doors_in:expr,)+ }
        outcomes { $($outcome:ident $name:literal $in:expr,)+ }
    ) => {
        /// Something that runs should meet now and then: a fault that the plan may ask for, or an outcome.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the name says it, and the table says it in words")]
        pub enum Point { $($fault,)+ $($of_doors,)+ $($outcome,)+ }

        impl Point {
            /// The points that are faults, to each of which a plan gives a rate.
            pub const FAULTS: &[Point] = &[$(Point::$fault,)+ $(Point::$of_doors,)+];
            /// Those that a story with nothing but TCP can have.
            pub(crate) const FAULTS_OF_TCP: &[Point] = &[$(Point::$fault,)+];
            /// All others.
            pub(crate) const FAULTS_OF_DOORS: &[Point] = &[$(Point::$of_doors,)+];
            /// All points.
            pub const ALL: &[Point] = &[$(Point::$fault,)+ $(Point::$of_doors,)+ $(Point::$outcome,)+];
            pub(crate) const COUNT: usize = Point::ALL.len();

            /// The point in words. On the command line they are joined with `-`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$fault => $fault_name,)+
                    $(Point::$of_doors => $of_doors_name,)+
                    $(Point::$outcome => $name,)+
                }
            }

            fn profiles(self) -> In {
                use In::{Both, Only};
                use Profile::{Epoll, Kqueue};
                match self {
                    $(Point::$fault => $fault_in,)+
                    $(Point::$of_doors => $of_doors_in,)+
                    $(Point::$outcome => $in,)+
                }
            }
        }
    };
}

points! {
    faults {
        WaitInterrupted "wait interrupted" Both,
        WaitEarly "wait returns early" Both,
        WaitShortList "event list too short" Both,
        WaitStale "stale event" Both,
        WaitSpurious "event without a cause" Both,
        AcceptInterrupted "accept interrupted" Both,
        AcceptEmpty "accept empty after all" Both,
        AcceptAborted "accept aborted" Both,
        AcceptNoAddress "accept without address" Only(Kqueue),
        AcceptNetwork "accept network error" Only(Epoll),
        AcceptTableFull "accept table full" Both,
        AcceptNoBuffers "accept no buffers" Both,
        AcceptNoMemory "accept no memory" Both,
        AcceptForbidden "accept forbidden" Both,
        AcceptOther "accept other error" Both,
        HasBacklogFails "backlog check fails" Both,
        SetUpFails "set-up fails" Both,
        WatchAcceptFails "watch accept fails" Both,
        WatchReadFails "watch read fails" Both,
        WatchWriteFails "watch write fails" Both,
        UnwatchAcceptFails "unwatch accept fails" Both,
        UnwatchReadFails "unwatch read fails" Both,
        UnwatchWriteFails "unwatch write fails" Both,
        BufferNoMemory "no memory for a buffer" Both,
        ReceiveInterrupted "receive interrupted" Both,
        ReceiveEmpty "receive empty after all" Both,
        ReceiveShort "receive short of input" Both,
        ReceiveNoMemory "receive no memory" Both,
        ReceiveFails "receive fails" Both,
        ReceiveGone "receive finds the peer gone" Both,
        PeekInterrupted "peek interrupted" Both,
        PeekNoMemory "peek no memory" Both,
        PeekFails "peek fails" Both,
        PeekGone "peek finds the peer gone" Both,
        SendInterrupted "send interrupted" Both,
        SendFull "send full after all" Both,
        SendShort "send short of room" Both,
        SendNoBuffers "send no buffers" Both,
        SendNoMemory "send no memory" Both,
        SendPrototype "send wrong type" Only(Kqueue),
        SendFails "send fails" Both,
        SendGone "send finds the peer gone" Both,
        ShutDownFails "shut-down fails" Both,
        ClockJumps "clock jumps" Both,
    }
    faults_of_doors {
        LocalAddressFails "local address fails" Both,
        ReceiveStops "receive stops at a message" Both,
        WatchDatagramsFails "watch datagrams fails" Both,
        UnwatchDatagramsFails "unwatch datagrams fails" Both,
        DatagramsInterrupted "datagram receive interrupted" Both,
        DatagramsEmpty "datagram receive empty after all" Both,
        DatagramsShort "datagram receive short of a batch" Both,
        DatagramsNoMemory "datagram receive no memory" Both,
        DatagramsRefused "datagram receive finds a reply refused" Both,
        DatagramsFail "datagram receive fails" Both,
        DatagramErrors "UDP socket ready because of errors" Both,
        RepliesFull "datagram send buffer full" Both,
        ReplyFails "datagram reply fails" Both,
    }
    outcomes {
        NoDescriptor "out of descriptors" Both,
        NoDescriptorDrops "out of descriptors, connection dropped" Only(Kqueue),
        BacklogFull "backlog full" Both,
        ConnectRefused "connect refused" Both,
        ResetInBacklog "reset in the backlog" Both,
        ResetWithBytes "reset with bytes unread" Both,
        ReceiveReset "receive: reset" Both,
        ReceiveTimedOut "receive: timed out" Both,
        SendReset "send: reset" Both,
        SendBrokenPipe "send: broken pipe" Both,
        EndWithBytes "end reported with bytes unread" Both,
        EndAlone "end reported after the bytes" Both,
        UrgentStop "receive stops at urgent data" Both,
        SocketFilled "send fills the socket" Both,
        OutputFull "output full" Both,
        PoolEmpty "pool empty" Both,
        LargeBuffer "stream gets a large buffer" Both,
        LargeBehind "stream with a large buffer falls behind" Both,
        LargeNoMemory "no memory for a large buffer" Both,
        EndWithoutBuffer "end found without a buffer" Both,
        InterruptedAgain "interrupted again and again" Both,
        ServingUsedUp "share of a connection's calls used up" Both,
        LeftoversUsedUp "share of leftovers used up" Both,
        DeadlinesUsedUp "share of deadlines used up" Both,
        AcceptShareUsed "share of accepts used up" Both,
        SlotReused "slot of a token used again" Both,
        StaleForReused "stale event for a slot used again" Both,
        AcceptPaused "accepting pauses" Both,
        ResumedByTime "accepting resumed by time" Both,
        ResumedByClose "accepting resumed by a close" Both,
        MemoryRetried "retried after memory was short" Both,
        LogSlow "log is slow to accept a message" Both,
        KeptByTry "idle, but a send succeeds" Both,
        KeptByLook "idle, but unreported input is found" Both,
        TriedInVain "idle, and a send fails" Both,
        ManyWaiting "many connections wait for a buffer" Both,
        BusyPoll "polls without sleeping" Both,
        DrainKeepsBacklog "drain keeps the backlog without descriptors" Both,
        ProcessStopped "process stopped for a while" Both,
        Hangup "hangup" Both,
        Statistics "statistics requested" Both,
        WakeForNothing "woken without a reason" Both,
        LimitsChanged "limits changed" Both,
        ListenerAdded "listener added" Both,
        ListenerRemoved "listener removed" Both,
        RemovedAccepts "removed listener accepts from its backlog" Both,
        StopTwice "stopped twice" Both,
        Refused "refused at the limit" Both,
        ClosedPeerFinished "closed: peer finished" Both,
        ClosedReset "closed: reset" Both,
        ClosedIdleTimeout "closed: idle timeout" Both,
        ClosedDrained "closed: drained" Both,
        ClosedDrainTimeout "closed: drain timeout" Both,
        ClosedFailed "closed: failed" Both,
        DrainOfCrowd "drain of more than a turn can serve" Both,
        DrainWithoutEnd "drain without a timeout" Both,
        DrainBySignal "drain by a signal" Both,
        DrainByHandle "drain by a handle" Both,
        DrainDelayed "drain begins after its delay" Both,
        DelaySkipped "signal begins the drain without the delay" Both,
        DelayAccepts "accepts in the delay of the drain" Both,
        DrainFindsNothing "drain finds nothing open" Both,
        DrainAccepts "drain accepts from the backlog" Both,
        DrainInPause "drain while accepting pauses" Both,
        DrainResetsBacklog "drain resets the backlog at its timeout" Both,
        ComesTooLate "drain: connect after the backlog was empty" Both,
        DrainShutsDown "drain shuts down a quiet connection" Both,
        DrainEchoes "drain echoes" Both,
        DrainDiscards "drain discards" Both,
        EndedDrained "ended: drained" Both,
        EndedSecondSignal "ended: second signal" Both,
        EndedOtherSignal "ended: second signal of another kind" Both,
        EndedMergedSignals "ended: two signals in one" Only(Kqueue),
        Untrusted "refused before its header" Both,
        HeaderComplete "header complete" Both,
        HeaderInPieces "header in pieces" Both,
        HeaderGlued "header with a message behind it" Both,
        HeaderWithoutBuffer "header complete without a buffer" Both,
        HeaderLate "header complete although it is late" Both,
        HeaderCut "stream ends in a header" Both,
        ClosedHeaderRefused "closed: header refused" Both,
        ClosedHeaderTimeout "closed: header timeout" Both,
        Greeting "greeting" Both,
        GreetingInPieces "greeting longer than a buffer" Both,
        GreetingWaits "greeting waits for a buffer" Both,
        GivenBacklogLeft "drain leaves the backlog of a given listener" Both,
        DatagramLost "datagram lost" Both,
        DatagramDoubled "datagram doubled" Both,
        DatagramLate "datagram late" Both,
        DatagramEmpty "datagram without bytes" Both,
        DatagramLongest "datagram of 65,507 bytes" Both,
        DatagramOverflow "datagram finds the receive buffer full" Both,
        DropsCounted "drops of the system counted" Only(Epoll),
        DestinationUnknown "datagram without destination" Both,
        RefusedSentToMany "datagram refused: sent to many" Both,
        RefusedSource "datagram refused: impossible source" Both,
        RefusedPortZero "datagram refused: source port zero" Both,
        RefusedOwnPort "datagram refused: own source port" Both,
        RefusedLowPort "datagram refused: low source port" Both,
        RefusedByRate "datagram refused: rate limited" Both,
        ReplyTooLong "datagram too long with its prefix" Both,
        DatagramsUsedUp "share of a UDP socket's datagrams used up" Both,
        DatagramBytesUsedUp "share of a UDP socket's bytes used up" Both,
        ReadyInVain "UDP socket ready in vain again and again" Both,
        DatagramsFailAgain "datagram receive fails for a while" Both,
        LastDatagramsAnswered "drain answers the last datagrams" Both,
        Faulty "connection with faults on request" Both,
        RefusedByFault "refused by a fault on request" Both,
        ResetByFault "reset by a fault on request" Both,
        ClosedByFault "closed: fault on request" Both,
        ShutByFault "shut down by a fault on request" Both,
        AnswerWithFate "answer with a fate on request" Both,
        AnswerLost "answer lost on request" Both,
        GivenDatagramsLeft "drain leaves datagrams in a given socket" Both,
    }
}

impl Point {
    /// Whether runs of this profile are to meet this point.
    pub fn is_in(self, profile: Profile) -> bool {
        matches!(self.profiles(), In::Both) || self.profiles() == In::Only(profile)
    }

    /// The name of the point as an argument.
    pub fn argument(self) -> String {
        self.name().replace(' ', "-").replace(',', "")
    }
}

/// A run of this many seeds, from any first one, fails if it has not met every point.
pub const SEEDS_FOR_COVERAGE: u64 = 10_000;

/// How often each point was met.
#[derive(Debug, Clone)]
pub struct Coverage([u64; Point::COUNT]);

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage([0; Point::COUNT])
    }
}

impl Coverage {
    #[inline]
    pub(crate) fn count(&mut self, point: Point) {
        self.0[point as usize] += 1;
    }

    /// How often this point was met.
    pub fn of(&self, point: Point) -> u64 {
        self.0[point as usize]
    }

    /// Adds what other runs met.
    pub fn add(&mut self, other: &Coverage) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// The number of faults that happened.
    pub fn faults(&self) -> u64 {
        Point::FAULTS.iter().map(|point| self.of(*point)).sum()
    }

    /// The points of this profile that were never met.
    pub fn missing(&self, profile: Profile) -> Vec<Point> {
        Point::ALL.iter().copied().filter(|point| point.is_in(profile) && self.of(*point) == 0).collect()
    }

    /// Formats a table with a line for each point of a profile.
    pub fn table(&self, profile: Profile) -> String {
        let points = Point::ALL.iter().filter(|point| point.is_in(profile));
        points.map(|point| format!("  {:<46} {:>14}\n", point.name(), self.of(*point))).collect()
    }
}
