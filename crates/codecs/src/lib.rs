//! The one list of codecs.
//!
//! A new codec is a crate of its own, a variant of [`Dialect`] with its line in each `match` there,
//! and a scheme of [`Endpoint`]. Servers and clients choose by name or URL, and then run code that
//! is generic over [`protocol::Codec`], without dynamic dispatch: [`dispatch`].
//!
//! **Never**: I/O; name look-ups and sockets belong to the users of an [`Endpoint`].
//!
//! Start reading at [`Dialect`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod dialect;
pub mod endpoint;

pub use dialect::{Dialect, WithCodec, dispatch};
pub use endpoint::{Address, Endpoint, EndpointError};
