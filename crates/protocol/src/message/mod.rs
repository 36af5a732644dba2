//! The messages: what a client may ask, what a server answers and what it tells unasked.

mod failure;
mod push;
mod reply;
mod request;
mod status;

pub use failure::{Failure, TransactionFault};
pub use push::Push;
pub use reply::{
    Conflict, CurrentRecord, Loaded, Reply, TransactionHead, TransactionRecord, TransactionSummary,
};
pub use request::{Begin, Expect, Request, TransactionId, UndoLog, Wanted};
pub use status::{Info, Interface, Status};
