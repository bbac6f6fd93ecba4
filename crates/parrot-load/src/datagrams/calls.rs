//! One place chooses how several datagrams are sent and received: in one call on Linux, FreeBSD and NetBSD, one by one on
//! other systems.

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
#[path = "calls/batched.rs"]
mod imp;

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
#[path = "calls/one_by_one.rs"]
mod imp;

pub(crate) use imp::Calls;

// Where the other way is used, its tests run as well.
#[cfg(all(test, any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
mod one_by_one;

/// A datagram to send, its number and the rest.
pub(crate) type Slices<'a> = [std::io::IoSlice<'a>; 2];
