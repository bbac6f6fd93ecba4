//! What a server listens on.

mod bind_error;
pub(crate) mod tcp;

pub use bind_error::BindError;
