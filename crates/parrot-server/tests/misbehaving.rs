//! A Parrot that misbehaves in somebody's test. These are the recipes of docs/testing-clients.md in Rust, with small clients
//! as people write them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parrot_server::fault::{After, Chances, Fault, FaultPlan, Share};
use parrot_server::{Addresses, CloseReason, Config, Ended, Listen, LocalAddress, Server, SpawnedServer};
use parrot_testkit::PATIENCE;

fn misbehaving<const N: usize>(faults: [Fault; N]) -> SpawnedServer {
    let faults = Some(FaultPlan::new(1512, faults.map(Into::into)).unwrap());
    let listen = vec![Listen::tcp(Addresses::localhost(0)), Listen::udp(Addresses::localhost(0))];
    Server::bind(Config { listen, faults, ..Config::default() }).unwrap().spawn().unwrap()
}

fn connect(parrot: &SpawnedServer) -> TcpStream {
    let stream = TcpStream::connect(parrot.local_addresses()[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_client_that_takes_one_read_for_a_message_is_found() {
    let parrot = misbehaving([Fault::Slice { least: NonZeroU32::MIN, most: NonZeroU32::MIN, delay: ms(10) }]);
    let mut stream = connect(&parrot);
    stream.write_all(b"Hello Parrot\n").unwrap();
    let mut reply = [0; 64];
    let n = stream.read(&mut reply).unwrap();
    assert!(n < 13, "{n} bytes in one read");
    let mut stream = connect(&parrot);
    stream.write_all(b"Hello Parrot\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "Hello Parrot\n");
}

#[test]
fn a_client_that_writes_ahead_needs_a_timeout() {
    let parrot = misbehaving([Fault::Stall { after: 10 * 1024, length: None }]);
    let mut stream = connect(&parrot);
    stream.set_write_timeout(Some(ms(200))).unwrap();
    let stuck = (0..).find_map(|_| stream.write_all(&[7; 1 << 16]).err()).unwrap();
    assert!(matches!(stuck.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
}

/// A health check, as a load balancer makes it.
fn is_healthy(address: SocketAddr, within: Duration) -> bool {
    let check = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(within))?;
        stream.write_all(b"ping")?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply)?;
        Ok(reply == *b"ping")
    };
    check().unwrap_or(false)
}

#[test]
fn a_health_check_sees_refused_and_late_connections() {
    let parrot = misbehaving([Fault::Refuse(3)]);
    let checks: Vec<bool> = (0..5).map(|_| is_healthy(parrot.local_addresses()[0], PATIENCE)).collect();
    assert_eq!(checks, [false, false, false, true, true]);
    let parrot = misbehaving([Fault::AcceptDelay(Chances::always(Duration::from_secs(3600)))]);
    assert!(!is_healthy(parrot.local_addresses()[0], ms(100)));
}

/// A pool of connections that takes them as they are.
struct Pool {
    address: SocketAddr,
    idle: Vec<TcpStream>,
    opened: usize,
}

impl Pool {
    fn ask(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = match self.idle.pop() {
            Some(stream) => stream,
            None => {
                self.opened += 1;
                TcpStream::connect(self.address)?
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(message)?;
        let mut reply = vec![0; message.len()];
        stream.read_exact(&mut reply)?;
        self.idle.push(stream);
        Ok(reply)
    }
}

#[test]
fn a_pool_meets_connections_that_have_ended() {
    for (fault, reason) in [
        (Fault::Reset(After::Bytes(20)), CloseReason::ResetFault),
        (Fault::LimitData(20), CloseReason::LimitDataFault),
        (Fault::Lifetime(ms(50)), CloseReason::LifetimeFault),
    ] {
        let parrot = misbehaving([fault.clone()]);
        let mut pool = Pool { address: parrot.local_addresses()[0], idle: Vec::new(), opened: 0 };
        let begin = Instant::now();
        let mut failed = 0;
        while failed == 0 && begin.elapsed() < PATIENCE {
            failed += usize::from(pool.ask(b"question").is_err());
        }
        // A pool that tries again on a new connection does not fail.
        assert_eq!(pool.ask(b"question").unwrap(), b"question", "{fault}");
        assert_eq!((failed, pool.opened), (1, 2), "{fault}");
        assert_eq!(parrot.handle().statistics().closed(reason), 1, "{fault}");
    }
}

#[test]
fn a_client_of_datagrams_tries_again() {
    let share = Share::from_percent(30).unwrap();
    let parrot = misbehaving([Fault::Loss(share)]);
    let plan = FaultPlan::new(1512, [Fault::Loss(share).into()]).unwrap();
    let server = parrot.listening().iter().find_map(|listening| match listening.address {
        LocalAddress::Udp(address) => Some(address),
        _ => None,
    });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.unwrap()).unwrap();
    client.set_read_timeout(Some(ms(1000))).unwrap();
    let (mut sent, mut tries) = (0, Vec::new());
    for _ in 0..10 {
        let answered = (1..=20).find(|_| {
            sent += 1;
            client.send(b"question").unwrap();
            client.recv(&mut [0; 64]).is_ok()
        });
        tries.push(answered.expect("an answer"));
    }
    let lost = (1..=sent).filter(|number| plan.datagram(*number).copies == 0).count() as u64;
    assert_eq!((sent, tries.iter().sum::<u64>()), (10 + lost, sent), "{tries:?}");
}

#[test]
fn a_spawned_server_ends_when_it_is_drained_or_dropped() {
    let parrot = misbehaving([Fault::Timeout(None)]);
    let mut stream = connect(&parrot);
    stream.write_all(b"never answered").unwrap();
    drop(stream);
    assert_eq!(parrot.drain().unwrap(), Ended::Drained);
    let parrot = misbehaving([Fault::HalfCloseFirst]);
    let (handle, address) = (parrot.handle().clone(), parrot.local_addresses()[0]);
    drop(parrot);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(handle.stage(), parrot_server::Stage::Ended);
}
