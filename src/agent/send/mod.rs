//! Sending: the agent's one connection to the coordinator, and segments that are repeated until acknowledged.
//!
//! [`crate::agent::pack::Packed`] segments come in and go to the coordinator, numbered; orders come down and are handed to
//! whoever runs the stages. The conversation is [`crate::protocol::agents`]. Nothing here collects, and nothing here decides
//! what is collected.

mod backoff;
mod keys;
mod link;
mod session;
mod upload;

pub use backoff::Backoff;
pub use keys::{Keys, LoginError, Token};
pub use link::{Dialer, Link, LinkError, Pieces};
pub use session::Session;
pub use upload::{UploadError, Uploader};
