//! What stands for the pages of `--admin` in a program that is built without them.

use std::fmt;

use anyhow::Result;
use parrot_server::{Listen, LocalAddress, Server};

use crate::arguments::Arguments;
use crate::logging::Log;

/// There are none.
#[derive(Debug)]
pub(crate) enum Pages {}

/// There are none.
#[derive(Debug, Clone)]
pub(crate) enum Shown {}

pub(crate) fn listen(_: &Arguments) -> Result<Option<Listen>> {
    Ok(None)
}

impl Pages {
    pub(crate) fn serve(_: &Arguments, _: &[String], _: &mut Server, _: Log) -> Result<Option<Pages>> {
        Ok(None)
    }

    pub(crate) fn address(&self) -> &LocalAddress {
        match *self {}
    }

    pub(crate) fn shown(&self) -> Shown {
        match *self {}
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Shown {
    pub(crate) fn follow(&self, _: &Arguments, _: &Arguments, _: &[String]) {
        match *self {}
    }
}
