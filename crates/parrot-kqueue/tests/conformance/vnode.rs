//! The Vnode filter.
//!
//! The error on Linux without /proc has no test, because that takes a mount namespace.

use super::{
    differences::{Difference, here, testable},
    support::*,
};
use parrot_kqueue::{Change, Events, Filter, Kqueue, Source, Token, VnodeEvents};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::PathBuf,
};
use tempfile::TempDir;

/// A queue, and a file with a name in a directory of its own.
struct Named {
    queue: Kqueue,
    directory: TempDir,
    path: PathBuf,
    file: File,
}

impl Named {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "squawk").unwrap();
        let file = File::options().read(true).append(true).open(&path).unwrap();
        Named { queue: queue(), directory, path, file }
    }

    /// With the file registered under the token `A`.
    fn watched(wanted: VnodeEvents) -> Self {
        let named = Named::new();
        apply(&named.queue, watch(&named.file, wanted));
        named
    }

    fn write(&self) {
        write_more(&self.file);
    }

    fn rename(&self) {
        fs::rename(&self.path, self.directory.path().join("elsewhere")).unwrap();
    }

    fn change_mode(&self) {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o400)).unwrap();
    }

    fn expect(&self, expected: VnodeEvents) {
        expect(&self.queue, expected);
    }

    fn assert_quiet(&self) {
        assert_quiet(&self.queue);
    }
}

fn watch(file: &File, wanted: VnodeEvents) -> Change<'_> {
    Change::add_vnode(file.as_fd(), wanted, A)
}

fn write_more(mut file: &File) {
    file.write_all(b"more").unwrap();
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
    let named = Named::watched(VnodeEvents::WRITE);
    named.assert_quiet();
    named.write();
    named.expect(VnodeEvents::WRITE);
    named.assert_quiet();
}

#[test]
fn a_file_that_grows_is_extended() {
    let named = Named::watched(VnodeEvents::EXTEND);
    named.write();
    named.expect(VnodeEvents::EXTEND);
}

#[test]
fn a_change_of_mode_is_one_of_attributes() {
    let named = Named::watched(VnodeEvents::ATTRIBUTES);
    named.change_mode();
    named.expect(VnodeEvents::ATTRIBUTES);
}

#[test]
fn a_rename_is_reported() {
    let named = Named::watched(VnodeEvents::RENAME);
    named.rename();
    named.expect(VnodeEvents::RENAME);
}

#[test]
fn a_new_link_is_reported() {
    let named = Named::watched(VnodeEvents::LINK);
    fs::hard_link(&named.path, named.directory.path().join("another")).unwrap();
    named.expect(VnodeEvents::LINK);
}

#[test]
fn the_removal_of_the_last_name_of_an_open_file_is_reported() {
    let named = Named::watched(VnodeEvents::DELETE);
    fs::remove_file(&named.path).unwrap();
    named.expect(VnodeEvents::DELETE);
}

#[test]
fn the_removal_of_one_name_of_several_is_reported() {
    let named = Named::new();
    let another = named.directory.path().join("another");
    fs::hard_link(&named.path, &another).unwrap();
    apply(&named.queue, watch(&named.file, VnodeEvents::DELETE));
    fs::remove_file(&named.path).unwrap();
    if !testable(Difference::OneNameOfSeveral) {
        fs::remove_file(another).unwrap();
    }
    named.expect(VnodeEvents::DELETE);
}

#[test]
fn a_renamed_file_can_be_watched() {
    let named = Named::new();
    named.rename();
    apply(&named.queue, watch(&named.file, VnodeEvents::WRITE));
    named.write();
    named.expect(VnodeEvents::WRITE);
}

#[test]
fn a_file_without_a_name_can_be_watched() {
    let (queue, file) = (queue(), tempfile::tempfile().unwrap());
    apply(&queue, watch(&file, VnodeEvents::WRITE));
    write_more(&file);
    expect(&queue, VnodeEvents::WRITE);
}

#[test]
fn a_write_to_a_file_without_a_name_is_no_delete() {
    let (queue, file) = (queue(), tempfile::tempfile().unwrap());
    apply(&queue, watch(&file, VnodeEvents::WRITE | VnodeEvents::DELETE));
    write_more(&file);
    assert_eq!(one(&queue).vnode_events(), VnodeEvents::WRITE);
    assert_quiet(&queue);
}

#[test]
fn a_write_before_a_file_was_added_is_not_reported() {
    let named = Named::watched(VnodeEvents::WRITE);
    let second = named.file.try_clone().unwrap();
    named.write();
    apply(&named.queue, Change::add_vnode(second.as_fd(), VnodeEvents::WRITE, B));
    assert_eq!(one(&named.queue).token(), A);
    named.assert_quiet();
}

#[test]
fn the_removal_of_a_directory_is_reported_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let queue = queue();
    match queue.apply(&[watch(&opened, VnodeEvents::DELETE | VnodeEvents::WRITE)]).all() {
        Ok(()) if testable(Difference::DirectoryDelete) => {
            fs::remove_dir(directory.path()).unwrap();
            expect(&queue, VnodeEvents::DELETE);
        }
        Ok(()) => {}
        Err(refusal) => {
            assert!(!here(Difference::DirectoryDelete), "{refusal}");
            assert_eq!(refusal.kind(), ErrorKind::Unsupported);
            assert!(refusal.to_string().contains("director"), "{refusal}");
        }
    }
}

#[test]
fn a_directory_is_written_to_when_an_entry_comes_or_goes() {
    let named = Named::new();
    let opened = File::open(named.directory.path()).unwrap();
    apply(&named.queue, watch(&opened, VnodeEvents::WRITE));
    fs::write(named.directory.path().join("new"), "").unwrap();
    named.expect(VnodeEvents::WRITE);
    named.assert_quiet();
    fs::remove_file(&named.path).unwrap();
    named.expect(VnodeEvents::WRITE);
}

#[test]
fn a_directory_is_not_written_to_when_a_file_in_it_is() {
    let named = Named::new();
    let opened = File::open(named.directory.path()).unwrap();
    apply(&named.queue, watch(&opened, VnodeEvents::WRITE | VnodeEvents::EXTEND | VnodeEvents::ATTRIBUTES));
    named.write();
    named.change_mode();
    named.assert_quiet();
}

#[test]
fn what_is_not_wanted_is_not_reported() {
    let named = Named::watched(VnodeEvents::RENAME);
    named.write();
    named.change_mode();
    named.assert_quiet();
}

#[test]
fn what_happened_before_a_wait_is_one_event() {
    let wanted = VnodeEvents::WRITE | VnodeEvents::RENAME | VnodeEvents::ATTRIBUTES;
    let named = Named::watched(wanted);
    named.write();
    named.change_mode();
    named.rename();
    assert_eq!(one(&named.queue).vnode_events(), wanted);
    named.assert_quiet();
}

#[test]
fn two_descriptors_of_one_file_are_two_registrations() {
    let named = Named::watched(VnodeEvents::WRITE);
    let second = named.file.try_clone().unwrap();
    apply(&named.queue, Change::add_vnode(second.as_fd(), VnodeEvents::WRITE | VnodeEvents::ATTRIBUTES, B));
    named.write();
    let mut tokens: Vec<_> = reported(&named.queue).iter().map(|event| event.token()).collect();
    tokens.sort();
    assert_eq!(tokens, [A, B]);
    apply(&named.queue, Change::delete(Source::Vnode(second.as_fd())));
    named.write();
    assert_eq!(one(&named.queue).token(), A);
}

#[test]
fn many_files_are_reported_through_a_short_list() {
    let queue = queue();
    let files: Vec<_> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
    for (index, file) in files.iter().enumerate() {
        apply(&queue, Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, Token(index)));
    }
    files.iter().for_each(write_more);
    let mut events = Events::with_capacity(3);
    let mut seen = HashSet::new();
    while seen.len() < files.len() {
        seen.extend(wait_with(&queue, &mut events).iter().map(|event| event.token()));
    }
    assert_quiet(&queue);
}

#[test]
fn two_queues_watch_one_file() {
    let (named, second) = (Named::watched(VnodeEvents::WRITE), queue());
    apply(&second, watch(&named.file, VnodeEvents::WRITE | VnodeEvents::EXTEND));
    named.write();
    named.expect(VnodeEvents::WRITE);
    expect(&second, VnodeEvents::WRITE | VnodeEvents::EXTEND);
    named.assert_quiet();
}

#[test]
fn a_write_in_place_does_not_extend_the_file() {
    let named = Named::watched(VnodeEvents::WRITE | VnodeEvents::EXTEND);
    File::options().write(true).open(&named.path).unwrap().write_all(b"SQUAWK").unwrap();
    let happened = reported(&named.queue).iter().fold(VnodeEvents::empty(), |all, event| all | event.vnode_events());
    assert_eq!(happened, VnodeEvents::WRITE);
}

#[test]
fn a_length_that_is_set_is_reported_under_one_name_or_another() {
    // This is a write on Linux and a change of attributes on the BSDs.
    let named = Named::watched(VnodeEvents::WRITE | VnodeEvents::EXTEND | VnodeEvents::ATTRIBUTES);
    let other = File::options().write(true).open(&named.path).unwrap();
    for length in [0, 100] {
        other.set_len(length).unwrap();
        assert!(!one(&named.queue).vnode_events().is_empty());
    }
}

#[test]
fn a_file_that_another_is_renamed_over_is_deleted() {
    let named = Named::watched(VnodeEvents::DELETE);
    let other = named.directory.path().join("other");
    fs::write(&other, "another").unwrap();
    fs::rename(other, &named.path).unwrap();
    named.expect(VnodeEvents::DELETE);
}

#[test]
fn a_new_directory_is_a_link_to_the_one_it_is_in() {
    let directory = tempfile::tempdir().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let links = opened.metadata().unwrap().nlink();
    let queue = watching(watch(&opened, VnodeEvents::WRITE | VnodeEvents::LINK));
    fs::create_dir(directory.path().join("inner")).unwrap();
    // Some file systems do not count these links. On btrfs there is always 1.
    let counted = opened.metadata().unwrap().nlink() > links;
    expect(&queue, if counted { VnodeEvents::WRITE | VnodeEvents::LINK } else { VnodeEvents::WRITE });
}

#[test]
fn adding_a_file_again_replaces_what_is_wanted_of_it() {
    let named = Named::watched(VnodeEvents::WRITE | VnodeEvents::RENAME | VnodeEvents::ATTRIBUTES);
    apply(&named.queue, Change::add_vnode(named.file.as_fd(), VnodeEvents::WRITE, B));
    named.rename();
    named.file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    named.assert_quiet();
    named.write();
    let event = one(&named.queue);
    assert_eq!((event.token(), event.vnode_events()), (B, VnodeEvents::WRITE));
}

#[test]
fn a_closed_file_is_reported_only_if_the_queue_keeps_it_open() {
    let named = Named::new();
    let watched = File::open(&named.path).unwrap();
    apply(&named.queue, watch(&watched, VnodeEvents::WRITE));
    drop(watched);
    named.write();
    if testable(Difference::StaleEvents) {
        named.expect(VnodeEvents::WRITE);
    } else {
        named.assert_quiet();
    }
}

#[test]
fn revoke_is_accepted_or_refused() {
    let (queue, file) = (queue(), tempfile::tempfile().unwrap());
    if testable(Difference::Revoke) {
        apply(&queue, watch(&file, VnodeEvents::REVOKE));
        assert_quiet(&queue);
    } else {
        let refusal = refused(&queue, watch(&file, VnodeEvents::REVOKE), ErrorKind::Unsupported);
        assert!(refusal.contains("revoke"), "{refusal}");
    }
}

/// A file, one without a name, and a directory. All were opened before the program lost the right to read them.
#[test]
fn a_file_that_may_not_be_read_is_watched_or_refused() {
    alone("vnode::a_file_that_may_not_be_read_is_watched_or_refused", || {
        let named = Named::new();
        let (directory, nameless) = (File::open(named.directory.path()).unwrap(), tempfile::tempfile().unwrap());
        for file in [&named.file, &nameless, &directory] {
            file.set_permissions(fs::Permissions::from_mode(0o300)).unwrap();
        }
        let user = nix::unistd::geteuid();
        if user.is_root() {
            // Root may read everything.
            nix::unistd::seteuid(65534.into()).unwrap();
        }
        let is_watched = testable(Difference::UnreadableFiles);
        for file in [&named.file, &nameless, &directory] {
            if is_watched {
                apply(&named.queue, watch(file, VnodeEvents::ATTRIBUTES));
                continue;
            }
            let refusal = refusal(&named.queue, watch(file, VnodeEvents::ATTRIBUTES));
            assert!(refusal.to_string().contains("may read"), "{refusal}");
            assert_eq!(os_error(&refusal), Some(rustix::io::Errno::ACCESS.raw_os_error()));
            assert_eq!(refusal.kind(), ErrorKind::PermissionDenied);
            assert_not_found(&named.queue, Source::Vnode(file.as_fd()));
        }
        nix::unistd::seteuid(user).unwrap();
        for file in [&named.file, &nameless, &directory] {
            file.set_permissions(fs::Permissions::from_mode(0o700)).unwrap();
            if is_watched {
                named.expect(VnodeEvents::ATTRIBUTES);
            }
        }
    });
}

#[test]
fn sockets_and_pipes_are_not_files() {
    let (near, _far) = pair();
    assert_is_not_a_file(&near);
    let (reader, writer) = std::io::pipe().unwrap();
    assert_is_not_a_file(&reader);
    assert_is_not_a_file(&writer);
}

/// Refused as an invalid argument. DragonFly has another error for it (sokqfilter in sys/kern/uipc_socket.c).
fn assert_is_not_a_file(descriptor: &impl AsFd) {
    let refusal = refusal(&queue(), Change::add_vnode(descriptor.as_fd(), VnodeEvents::WRITE, A));
    let is_unsupported = refusal.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error());
    assert!(refusal.kind() == ErrorKind::InvalidInput || is_unsupported, "{refusal:?}");
}
