//! The Vnode filter.
//!
//! What Linux answers where there is no /proc has no test: it takes a mount namespace to be without.

use super::{
    differences::{Difference, here, skipped},
    support::*,
};
use parrot_kqueue::{Change, Filter, Kqueue, Source, VnodeEvents};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::PathBuf,
};
use tempfile::TempDir;

/// A file with a name, in a directory of its own that goes with it.
struct Named {
    directory: TempDir,
    path: PathBuf,
    file: File,
}

fn named() -> Named {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "squawk").unwrap();
    let file = File::options().read(true).append(true).open(&path).unwrap();
    Named { directory, path, file }
}

fn watch(file: &File, wanted: VnodeEvents) -> Change<'_> {
    Change::add_vnode(file.as_fd(), wanted, A)
}

/// Waits until all of this was reported, in one event or in several.
fn expect(queue: &Kqueue, expected: VnodeEvents) {
    let mut seen = VnodeEvents::empty();
    while !seen.contains(expected) {
        let event = one(queue);
        assert_eq!((event.token(), event.filter()), (A, Filter::Vnode));
        assert!(!event.vnode_events().is_empty());
        seen |= event.vnode_events();
    }
}

#[test]
fn a_write_is_reported() {
    let Named { directory: _directory, mut file, .. } = named();
    let other = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&other, VnodeEvents::WRITE));
    assert_quiet(&queue);
    file.write_all(b"more").unwrap();
    expect(&queue, VnodeEvents::WRITE);
    assert_quiet(&queue);
}

#[test]
fn a_file_that_grows_is_extended() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::EXTEND));
    file.write_all(b"more").unwrap();
    expect(&queue, VnodeEvents::EXTEND);
}

#[test]
fn a_change_of_mode_is_one_of_attributes() {
    let Named { directory: _directory, path, file } = named();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::ATTRIBUTES));
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    expect(&queue, VnodeEvents::ATTRIBUTES);
}

#[test]
fn a_rename_is_reported() {
    let Named { directory, path, file } = named();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::RENAME));
    fs::rename(path, directory.path().join("elsewhere")).unwrap();
    expect(&queue, VnodeEvents::RENAME);
}

#[test]
fn a_new_link_is_reported() {
    let Named { directory, path, file } = named();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::LINK));
    fs::hard_link(path, directory.path().join("another")).unwrap();
    expect(&queue, VnodeEvents::LINK);
}

#[test]
fn the_removal_of_the_last_name_is_reported_while_the_file_is_open() {
    let Named { directory: _directory, path, file } = named();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::DELETE));
    fs::remove_file(path).unwrap();
    expect(&queue, VnodeEvents::DELETE);
}

#[test]
fn the_removal_of_one_name_of_several_is_reported() {
    let Named { directory, path, file } = named();
    let another = directory.path().join("another");
    fs::hard_link(&path, &another).unwrap();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::DELETE));
    fs::remove_file(path).unwrap();
    if !here(Difference::OneNameOfSeveral) {
        skipped(Difference::OneNameOfSeveral);
        fs::remove_file(another).unwrap();
    }
    expect(&queue, VnodeEvents::DELETE);
}

#[test]
fn a_file_is_followed_after_it_was_renamed() {
    let Named { directory, path, mut file } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    fs::rename(path, directory.path().join("elsewhere")).unwrap();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    file.write_all(b"more").unwrap();
    expect(&queue, VnodeEvents::WRITE);
}

#[test]
fn a_file_without_a_name_can_be_watched() {
    let mut file = tempfile::tempfile().unwrap();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    file.write_all(b"more").unwrap();
    expect(&queue, VnodeEvents::WRITE);
}

#[test]
fn a_file_without_a_name_is_not_deleted_by_being_written_to() {
    let mut file = tempfile::tempfile().unwrap();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE | VnodeEvents::DELETE));
    file.write_all(b"more").unwrap();
    assert_eq!(one(&queue).vnode_events(), VnodeEvents::WRITE);
    assert_quiet(&queue);
}

#[test]
fn what_happened_before_a_file_was_added_is_not_reported() {
    let Named { directory: _directory, mut file, .. } = named();
    let (first, second) = (file.try_clone().unwrap(), file.try_clone().unwrap());
    let queue = queue();
    apply(&queue, watch(&first, VnodeEvents::WRITE));
    file.write_all(b"more").unwrap();
    apply(&queue, Change::add_vnode(second.as_fd(), VnodeEvents::WRITE, B));
    assert_eq!(one(&queue).token(), A);
    assert_quiet(&queue);
}

#[test]
fn the_removal_of_a_directory_is_reported_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let queue = queue();
    match queue.apply(&[watch(&opened, VnodeEvents::DELETE | VnodeEvents::WRITE)]).all() {
        Ok(()) if here(Difference::DirectoryDelete) => {
            fs::remove_dir(directory.path()).unwrap();
            expect(&queue, VnodeEvents::DELETE);
        }
        Ok(()) => skipped(Difference::DirectoryDelete),
        Err(refusal) => {
            assert!(!here(Difference::DirectoryDelete), "{refusal}");
            assert_eq!(refusal.kind(), ErrorKind::Unsupported);
            assert!(refusal.to_string().contains("director"), "{refusal}");
        }
    }
}

#[test]
fn a_directory_is_written_to_when_an_entry_comes_or_goes() {
    let Named { directory, path, .. } = named();
    let opened = File::open(directory.path()).unwrap();
    let queue = queue();
    apply(&queue, watch(&opened, VnodeEvents::WRITE));
    fs::write(directory.path().join("new"), "").unwrap();
    expect(&queue, VnodeEvents::WRITE);
    assert_quiet(&queue);
    fs::remove_file(path).unwrap();
    expect(&queue, VnodeEvents::WRITE);
}

#[test]
fn a_directory_is_not_written_to_when_a_file_in_it_is() {
    let Named { directory, path, mut file } = named();
    let opened = File::open(directory.path()).unwrap();
    let queue = queue();
    apply(&queue, watch(&opened, VnodeEvents::WRITE | VnodeEvents::EXTEND | VnodeEvents::ATTRIBUTES));
    file.write_all(b"more").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_quiet(&queue);
}

#[test]
fn what_is_not_wanted_is_not_reported() {
    let Named { directory: _directory, path, mut file } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::RENAME));
    file.write_all(b"more").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_quiet(&queue);
}

#[test]
fn what_happened_before_a_wait_is_one_event() {
    let Named { directory, path, mut file } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    let wanted = VnodeEvents::WRITE | VnodeEvents::RENAME | VnodeEvents::ATTRIBUTES;
    apply(&queue, watch(&watched, wanted));
    file.write_all(b"more").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    fs::rename(path, directory.path().join("elsewhere")).unwrap();
    assert_eq!(one(&queue).vnode_events(), wanted);
    assert_quiet(&queue);
}

#[test]
fn two_descriptors_of_one_file_are_two_registrations() {
    let Named { directory: _directory, mut file, .. } = named();
    let (first, second) = (file.try_clone().unwrap(), file.try_clone().unwrap());
    let queue = queue();
    apply(&queue, watch(&first, VnodeEvents::WRITE));
    apply(&queue, Change::add_vnode(second.as_fd(), VnodeEvents::WRITE | VnodeEvents::ATTRIBUTES, B));
    file.write_all(b"more").unwrap();
    let mut tokens: Vec<_> = reported(&queue).iter().map(|event| event.token()).collect();
    tokens.sort();
    assert_eq!(tokens, [A, B]);
    apply(&queue, Change::delete(Source::Vnode(second.as_fd())));
    file.write_all(b"more").unwrap();
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn a_one_shot_file_is_reported_once() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE).one_shot());
    file.write_all(b"more").unwrap();
    expect(&queue, VnodeEvents::WRITE);
    file.write_all(b"more").unwrap();
    assert_quiet(&queue);
    assert_eq!(refusal(&queue, Change::delete(Source::Vnode(watched.as_fd()))).kind(), ErrorKind::NotFound);
}

#[test]
fn a_disabled_file_is_reported_when_it_is_enabled() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    apply(&queue, Change::disable(Source::Vnode(watched.as_fd())));
    file.write_all(b"more").unwrap();
    assert_quiet(&queue);
    apply(&queue, Change::enable(Source::Vnode(watched.as_fd())));
    expect(&queue, VnodeEvents::WRITE);
}

#[test]
fn a_deleted_file_registration_is_not_reported() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    apply(&queue, Change::delete(Source::Vnode(watched.as_fd())));
    file.write_all(b"more").unwrap();
    assert_quiet(&queue);
}

#[test]
fn many_files_are_reported_through_a_short_list() {
    let queue = queue();
    let mut files: Vec<_> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
    for (index, file) in files.iter().enumerate() {
        apply(&queue, Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, parrot_kqueue::Token(index)));
    }
    for file in &mut files {
        file.write_all(b"more").unwrap();
    }
    let mut events = parrot_kqueue::Events::with_capacity(3);
    let mut seen = std::collections::HashSet::new();
    while seen.len() < files.len() {
        seen.extend(wait_with(&queue, &mut events).iter().map(|event| event.token()));
    }
    assert_quiet(&queue);
}

#[test]
fn a_dispatched_file_is_reported_once_for_each_time_it_is_enabled() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE).dispatch());
    for _ in 0..2 {
        file.write_all(b"more").unwrap();
        expect(&queue, VnodeEvents::WRITE);
        assert_quiet(&queue);
        file.write_all(b"more").unwrap();
        assert_quiet(&queue);
        apply(&queue, Change::enable(Source::Vnode(watched.as_fd())));
        expect(&queue, VnodeEvents::WRITE);
        apply(&queue, Change::enable(Source::Vnode(watched.as_fd())));
    }
}

#[test]
fn what_happened_to_a_file_can_be_put_off_and_taken_back() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    file.write_all(b"more").unwrap();
    assert_can_be_put_off(&queue, Source::Vnode(watched.as_fd()));
    assert_quiet(&queue);
    file.write_all(b"more").unwrap();
    assert_can_be_taken_back(&queue, Source::Vnode(watched.as_fd()));
}

#[test]
fn two_queues_watch_one_file() {
    let Named { directory: _directory, mut file, .. } = named();
    let watched = file.try_clone().unwrap();
    let (first, second) = (queue(), queue());
    apply(&first, watch(&watched, VnodeEvents::WRITE));
    apply(&second, watch(&watched, VnodeEvents::WRITE | VnodeEvents::EXTEND));
    file.write_all(b"more").unwrap();
    expect(&first, VnodeEvents::WRITE);
    expect(&second, VnodeEvents::WRITE | VnodeEvents::EXTEND);
    assert_quiet(&first);
}

#[test]
fn a_write_in_place_does_not_extend_the_file() {
    let Named { directory: _directory, path, file } = named();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::WRITE | VnodeEvents::EXTEND));
    File::options().write(true).open(path).unwrap().write_all(b"SQUAWK").unwrap();
    let happened = reported(&queue).iter().fold(VnodeEvents::empty(), |all, event| all | event.vnode_events());
    assert_eq!(happened, VnodeEvents::WRITE);
}

#[test]
fn a_length_that_is_set_is_reported_under_one_name_or_another() {
    let Named { directory: _directory, path, file } = named();
    let queue = queue();
    // A write on Linux, a change of attributes on the BSDs.
    apply(&queue, watch(&file, VnodeEvents::WRITE | VnodeEvents::EXTEND | VnodeEvents::ATTRIBUTES));
    let other = File::options().write(true).open(path).unwrap();
    for length in [0, 100] {
        other.set_len(length).unwrap();
        assert!(!one(&queue).vnode_events().is_empty());
    }
}

#[test]
fn a_file_that_another_is_renamed_over_is_deleted() {
    let Named { directory, path, file } = named();
    let other = directory.path().join("other");
    fs::write(&other, "another").unwrap();
    let queue = queue();
    apply(&queue, watch(&file, VnodeEvents::DELETE));
    fs::rename(other, path).unwrap();
    expect(&queue, VnodeEvents::DELETE);
}

#[test]
fn a_new_directory_is_a_link_to_the_one_it_is_in() {
    let directory = tempfile::tempdir().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let links = opened.metadata().unwrap().nlink();
    let queue = queue();
    apply(&queue, watch(&opened, VnodeEvents::WRITE | VnodeEvents::LINK));
    fs::create_dir(directory.path().join("inner")).unwrap();
    // Some file systems do not count these links (btrfs: always 1).
    let counted = opened.metadata().unwrap().nlink() > links;
    expect(&queue, if counted { VnodeEvents::WRITE | VnodeEvents::LINK } else { VnodeEvents::WRITE });
}

#[test]
fn adding_a_file_again_replaces_what_is_wanted_of_it() {
    let Named { directory, path, mut file } = named();
    let watched = file.try_clone().unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE | VnodeEvents::RENAME | VnodeEvents::ATTRIBUTES));
    apply(&queue, Change::add_vnode(watched.as_fd(), VnodeEvents::WRITE, B));
    fs::rename(path, directory.path().join("elsewhere")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_quiet(&queue);
    file.write_all(b"more").unwrap();
    let event = one(&queue);
    assert_eq!((event.token(), event.vnode_events()), (B, VnodeEvents::WRITE));
}

#[test]
fn a_file_that_is_closed_is_no_longer_reported_but_where_the_queue_holds_it() {
    let Named { directory: _directory, path, mut file } = named();
    let watched = File::open(path).unwrap();
    let queue = queue();
    apply(&queue, watch(&watched, VnodeEvents::WRITE));
    drop(watched);
    file.write_all(b"more").unwrap();
    if here(Difference::StaleEvents) {
        expect(&queue, VnodeEvents::WRITE);
    } else {
        skipped(Difference::StaleEvents);
        assert_quiet(&queue);
    }
}

#[test]
fn revoke_can_be_asked_for_or_is_refused() {
    let file = tempfile::tempfile().unwrap();
    let queue = queue();
    if here(Difference::Revoke) {
        apply(&queue, watch(&file, VnodeEvents::REVOKE));
        assert_quiet(&queue);
    } else {
        skipped(Difference::Revoke);
        let refusal = refusal(&queue, watch(&file, VnodeEvents::REVOKE));
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
        assert!(refusal.to_string().contains("revoke"), "{refusal}");
    }
}

#[test]
fn sockets_and_pipes_are_no_files() {
    let (near, _far) = pair();
    assert_is_no_file(&near);
    let (reader, writer) = std::io::pipe().unwrap();
    assert_is_no_file(&reader);
    assert_is_no_file(&writer);
}

/// Refused, and as an invalid argument; DragonFly has another word for it (sokqfilter in sys/kern/uipc_socket.c).
fn assert_is_no_file(descriptor: &impl AsFd) {
    let refusal = refusal(&queue(), Change::add_vnode(descriptor.as_fd(), VnodeEvents::WRITE, A));
    let other_word = refusal.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error());
    assert!(refusal.kind() == ErrorKind::InvalidInput || other_word, "{refusal:?}");
}
