//! Files.

use crate::{Event, change::Addition, receipts::Failure};
use nix::sys::epoll::Epoll;
use std::{io, os::fd::BorrowedFd};

pub(super) struct Vnodes;

impl Vnodes {
    pub(super) fn new(_: &Epoll) -> Result<Self, Failure> {
        Err(Failure::Unsupported("files"))
    }

    pub(super) fn add(&mut self, _: BorrowedFd<'_>, _: &Addition) -> Result<(), Failure> {
        Err(Failure::Unsupported("files"))
    }

    pub(super) fn delete(&mut self, _: BorrowedFd<'_>) -> Result<(), Failure> {
        Err(Failure::NotFound)
    }

    pub(super) fn set_enabled(&mut self, _: BorrowedFd<'_>, _: bool) -> Result<(), Failure> {
        Err(Failure::NotFound)
    }

    pub(super) fn collect(&mut self, _: usize, _: &mut Vec<Event>) -> io::Result<()> {
        Ok(())
    }
}
