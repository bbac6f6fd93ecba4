//! Many descriptors.

use super::support::*;
use parrot_kqueue::{Change, Events, Kqueue, Source, Token};
use rustix::process::{Resource, getrlimit};
use std::{
    collections::HashSet,
    io::Write,
    os::{fd::AsFd, unix::net::UnixStream},
};

/// As many pairs as are asked for, or as a fifth of the limit of descriptors allows: other tests run at the same time.
fn many_pairs(wanted: usize) -> (Kqueue, Vec<(UnixStream, UnixStream)>) {
    let queue = queue();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(limit).unwrap_or(usize::MAX) / 10;
    if room < wanted {
        eprintln!("{room} pairs in place of {wanted}: the limit of descriptors is {limit}");
    }
    (queue, (0..wanted.min(room)).map(|_| pair()).collect())
}

#[test]
fn thousands_of_descriptors_are_each_reported() {
    let (queue, pairs) = many_pairs(2000);
    let changes: Vec<_> = pairs
        .iter()
        .enumerate()
        .flat_map(|(index, (near, far))| {
            [Change::add_read(near.as_fd(), Token(index)), Change::add_write(far.as_fd(), Token(index)).disabled()]
        })
        .collect();
    queue.apply(&changes).all().unwrap();
    for (_, far) in &pairs {
        (&*far).write_all(b"squawk").unwrap();
    }
    let mut seen = HashSet::new();
    let mut events = Events::with_capacity(256);
    while seen.len() < pairs.len() {
        seen.extend(wait_with(&queue, &mut events).iter().map(|event| event.token()));
    }
    let deletes: Vec<_> = pairs.iter().map(|(near, _)| Change::delete(Source::Read(near.as_fd()))).collect();
    queue.apply(&deletes).all().unwrap();
    assert_quiet(&queue);
}

#[test]
fn one_of_thousands_is_found() {
    let (queue, pairs) = many_pairs(2000);
    for (index, (near, _)) in pairs.iter().enumerate() {
        apply(&queue, Change::add_read(near.as_fd(), Token(index)));
    }
    for index in [0, pairs.len() / 2, pairs.len() - 1] {
        let (near, far) = &pairs[index];
        (&*far).write_all(b"squawk").unwrap();
        assert_eq!(one(&queue).token(), Token(index));
        drain(near);
    }
}
