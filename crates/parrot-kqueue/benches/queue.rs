//! What the queue costs over the bare system calls, and how it compares with mio and polling.
//!
//! Run `cargo bench -p parrot-kqueue`. All benchmarks run in one process, one after the other.
//! `docs/kqueue-benchmarks.md` has the figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use divan::{Bencher, black_box, counter::ItemsCount};
use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

fn main() {
    parrot_testkit::descriptors::raise_limit();
    divan::main();
}

/// Something that watches descriptors for bytes.
trait Watcher {
    fn new(capacity: usize) -> Self;
    /// Watches these, each with its index as its token.
    fn add(&mut self, descriptors: &[BorrowedFd<'_>]);
    fn delete(&mut self, descriptors: &[BorrowedFd<'_>]);
    /// Waits, looks at every event, and returns how many there were.
    fn wait(&mut self) -> usize;
}

use bare::Bare;

struct Parrot(parrot_kqueue::Kqueue, parrot_kqueue::Events);
struct Mio(mio::Poll, mio::Events);
struct Polling(polling::Poller, Vec<polling::Event>);

/// The bare calls through nix.
#[cfg(target_os = "linux")]
mod bare {
    use super::*;
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    pub(super) struct Bare(Epoll, Vec<EpollEvent>);

    impl Watcher for Bare {
        fn new(capacity: usize) -> Self {
            Bare(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap(), vec![EpollEvent::empty(); capacity])
        }

        fn add(&mut self, descriptors: &[BorrowedFd<'_>]) {
            for (token, descriptor) in descriptors.iter().enumerate() {
                self.0.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token as u64)).unwrap();
            }
        }

        fn delete(&mut self, descriptors: &[BorrowedFd<'_>]) {
            for descriptor in descriptors {
                self.0.delete(descriptor).unwrap();
            }
        }

        #[inline]
        fn wait(&mut self) -> usize {
            let count = self.0.wait(&mut self.1, EpollTimeout::NONE).unwrap();
            for event in &self.1[..count] {
                black_box((event.data(), event.events()));
            }
            count
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod bare {
    use super::*;
    use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
    use std::os::fd::AsRawFd;

    pub(super) struct Bare(Kqueue, Vec<KEvent>);

    fn change(descriptor: BorrowedFd<'_>, flags: EvFlags, token: usize) -> KEvent {
        let ident = descriptor.as_raw_fd().unsigned_abs() as usize;
        KEvent::new(ident, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, token.cast_signed())
    }

    impl Watcher for Bare {
        fn new(capacity: usize) -> Self {
            let nothing = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
            Bare(Kqueue::new().unwrap(), vec![nothing; capacity])
        }

        fn add(&mut self, descriptors: &[BorrowedFd<'_>]) {
            let descriptors = descriptors.iter().enumerate();
            let changes: Vec<_> = descriptors.map(|(token, it)| change(*it, EvFlags::EV_ADD, token)).collect();
            self.0.kevent(&changes, &mut [], None).unwrap();
        }

        fn delete(&mut self, descriptors: &[BorrowedFd<'_>]) {
            let changes: Vec<_> = descriptors.iter().map(|it| change(*it, EvFlags::EV_DELETE, 0)).collect();
            self.0.kevent(&changes, &mut [], None).unwrap();
        }

        #[inline]
        fn wait(&mut self) -> usize {
            let count = self.0.kevent(&[], &mut self.1, None).unwrap();
            for event in &self.1[..count] {
                black_box((event.udata(), event.flags()));
            }
            count
        }
    }
}

impl Watcher for Parrot {
    fn new(capacity: usize) -> Self {
        Parrot(parrot_kqueue::Kqueue::new().unwrap(), parrot_kqueue::Events::with_capacity(capacity))
    }

    fn add(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use parrot_kqueue::{Change, Token};
        let descriptors = descriptors.iter().enumerate();
        let changes: Vec<_> = descriptors.map(|(token, it)| Change::add_read(*it, Token(token))).collect();
        self.0.apply(&changes).all().unwrap();
    }

    fn delete(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use parrot_kqueue::{Change, Source};
        let changes: Vec<_> = descriptors.iter().map(|it| Change::delete(Source::Read(*it))).collect();
        self.0.apply(&changes).all().unwrap();
    }

    #[inline]
    fn wait(&mut self) -> usize {
        self.0.wait(&mut self.1, None).unwrap();
        for event in &self.1 {
            black_box((event.token(), event.is_eof()));
        }
        self.1.len()
    }
}

/// mio is always edge-triggered.
impl Watcher for Mio {
    fn new(capacity: usize) -> Self {
        Mio(mio::Poll::new().unwrap(), mio::Events::with_capacity(capacity))
    }

    fn add(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use std::os::fd::AsRawFd;
        for (token, descriptor) in descriptors.iter().enumerate() {
            let number = descriptor.as_raw_fd();
            let mut source = mio::unix::SourceFd(&number);
            self.0.registry().register(&mut source, mio::Token(token), mio::Interest::READABLE).unwrap();
        }
    }

    fn delete(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use std::os::fd::AsRawFd;
        for descriptor in descriptors {
            self.0.registry().deregister(&mut mio::unix::SourceFd(&descriptor.as_raw_fd())).unwrap();
        }
    }

    #[inline]
    fn wait(&mut self) -> usize {
        self.0.poll(&mut self.1, None).unwrap();
        let mut count = 0;
        for event in &self.1 {
            black_box((event.token(), event.is_read_closed()));
            count += 1;
        }
        count
    }
}

/// Level-triggered, like the bare calls and Parrot.
impl Watcher for Polling {
    fn new(capacity: usize) -> Self {
        Polling(polling::Poller::new().unwrap(), Vec::with_capacity(capacity))
    }

    fn add(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use std::os::fd::AsRawFd;
        for (token, descriptor) in descriptors.iter().enumerate() {
            let interest = polling::Event::readable(token);
            self.0.add_with_mode(descriptor.as_raw_fd(), interest, polling::PollMode::Level).unwrap();
        }
    }

    fn delete(&mut self, descriptors: &[BorrowedFd<'_>]) {
        use std::os::fd::AsRawFd;
        for descriptor in descriptors {
            self.0.delete(descriptor.as_raw_fd()).unwrap();
        }
    }

    #[inline]
    fn wait(&mut self) -> usize {
        self.1.clear();
        self.0.wait(&mut self.1, None).unwrap();
        for event in &self.1 {
            black_box((event.key, event.readable));
        }
        self.1.len()
    }
}

/// Descriptors of one socket that has no bytes, and its peer.
fn idle(count: usize) -> (Vec<OwnedFd>, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    ((0..count).map(|_| near.as_fd().try_clone_to_owned().unwrap()).collect(), far)
}

fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

/// A byte arrives at one descriptor of `count`, and is waited for and read.
#[divan::bench(types = [Bare, Parrot, Mio, Polling], args = [1, 100, 10_000], sample_count = 1000, sample_size = 100)]
fn one_ready_of<W: Watcher>(bencher: Bencher<'_, '_>, count: usize) {
    let (idle, _far) = idle(count - 1);
    let (near, far) = UnixStream::pair().unwrap();
    let mut watcher = W::new(256);
    let mut all = vec![near.as_fd()];
    all.extend(borrowed(&idle));
    watcher.add(&all);
    bencher.bench_local(|| {
        (&far).write_all(&[7]).unwrap();
        assert_eq!(watcher.wait(), 1);
        (&near).read_exact(&mut [0]).unwrap();
    });
}

/// All of `count` descriptors are ready and stay ready. mio is edge-triggered, so it has no such state and is only in
/// `all_become_ready`.
#[divan::bench(types = [Bare, Parrot, Polling], args = [1, 100, 10_000], sample_count = 500)]
fn all_ready<W: Watcher>(bencher: Bencher<'_, '_>, count: usize) {
    let (near, far) = idle(count);
    let mut watcher = W::new(count.min(1024));
    watcher.add(&borrowed(&near));
    (&far).write_all(&[7]).unwrap();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut seen = 0;
        while seen < count {
            seen += watcher.wait();
        }
    });
}

/// A byte arrives at `count` descriptors at once, all of them are reported, and it is read. Each round has an edge.
#[divan::bench(types = [Bare, Parrot, Mio, Polling], args = [100, 10_000], sample_count = 500)]
fn all_become_ready<W: Watcher>(bencher: Bencher<'_, '_>, count: usize) {
    let (near, far) = idle(count);
    let mut watcher = W::new(count.min(1024));
    watcher.add(&borrowed(&near));
    let mut reader = UnixStream::from(near[0].try_clone().unwrap());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        (&far).write_all(&[7]).unwrap();
        let mut seen = 0;
        while seen < count {
            seen += watcher.wait();
        }
        reader.read_exact(&mut [0]).unwrap();
    });
}

/// A thousand descriptors are added and deleted again.
#[divan::bench(types = [Bare, Parrot, Mio, Polling], sample_count = 500)]
fn a_thousand_added_and_deleted<W: Watcher>(bencher: Bencher<'_, '_>) {
    let (near, _far) = idle(1000);
    let all = borrowed(&near);
    let mut watcher = W::new(256);
    bencher.counter(ItemsCount::new(2000_usize)).bench_local(|| {
        watcher.add(&all);
        watcher.delete(&all);
    });
}
