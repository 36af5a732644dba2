//! What the kinds of message are called.
//!
//! Without wildcards: a new kind does not compile before it has a name, and a sample in `super`.

use protocol::{Failure, Push, Reply, Request};

pub(super) fn of_request(request: &Request) -> &'static str {
    match request {
        Request::Register { .. } => "register",
        Request::Info => "info",
        Request::LastTransaction => "last transaction",
        Request::Invalidations { .. } => "invalidations",
        Request::LoadBefore { .. } => "load before",
        Request::LoadSerial { .. } => "load serial",
        Request::CurrentTid { .. } => "current tid",
        Request::NewOids { .. } => "new oids",
        Request::Begin(_) => "begin",
        Request::Store { .. } => "store",
        Request::Delete { .. } => "delete",
        Request::CheckCurrentSerial { .. } => "check current serial",
        Request::Restore { .. } => "restore",
        Request::Vote { .. } => "vote",
        Request::Finish { .. } => "finish",
        Request::Abort { .. } => "abort",
        Request::Status => "status",
        Request::Ping => "ping",
        Request::Label(_) => "label",
        Request::KeepAlive => "keep alive",
        Request::Undo { .. } => "undo",
        Request::BlobStart { .. } => "blob start",
        Request::BlobChunk { .. } => "blob chunk",
        Request::BlobEnd { .. } => "blob end",
        Request::BlobShared { .. } => "blob shared",
        Request::LoadBlob { .. } => "load blob",
        Request::History { .. } => "history",
        Request::UndoLog(_) => "undo log",
        Request::NextRecord { .. } => "next record",
        Request::Iterate { .. } => "iterate",
        Request::NextTransaction { .. } => "next transaction",
        Request::IterateRecords { .. } => "iterate records",
        Request::NextTransactionRecord { .. } => "next transaction record",
        Request::EndIterators { .. } => "end iterators",
        Request::Pack { .. } => "pack",
        Request::Invalid { .. } => "invalid",
    }
}

pub(super) fn of_reply(reply: &Reply) -> &'static str {
    match reply {
        Reply::Done => "done",
        Reply::Tid(_) => "tid",
        Reply::NotFinished(_) => "not finished",
        Reply::Info(_) => "info",
        Reply::Invalidations(Some(_)) => "invalidations",
        Reply::Invalidations(None) => "invalidations unknown",
        Reply::Loaded(Some(_)) => "loaded",
        Reply::Loaded(None) => "younger",
        Reply::Data(_) => "data",
        Reply::Oids(_) => "oids",
        Reply::Voted => "voted",
        Reply::Conflicts(_) => "conflicts",
        Reply::Status(_) => "status",
        Reply::Determined(_) => "determined",
        Reply::History(_) => "history",
        Reply::UndoLog(_) => "undo log",
        Reply::CurrentRecord(_) => "current record",
        Reply::Iterator(_) => "iterator",
        Reply::Transaction(Some(_)) => "transaction",
        Reply::Transaction(None) => "last transaction",
        Reply::TransactionRecord(Some(_)) => "transaction record",
        Reply::TransactionRecord(None) => "last record",
        Reply::Failed(failure) => of_failure(failure),
    }
}

fn of_failure(failure: &Failure) -> &'static str {
    match failure {
        Failure::UnknownOid(_) => "unknown oid",
        Failure::BadId(_) => "bad id",
        Failure::ReadOnly => "read-only",
        Failure::Transaction(_) => "transaction fault",
        Failure::Conflict { .. } => "conflict failure",
        Failure::ReadConflict { .. } => "read conflict",
        Failure::UnknownStorage(_) => "unknown storage",
        Failure::Arguments(_) => "wrong arguments",
        Failure::Unsupported(_) => "unsupported",
        Failure::Storage(_) => "storage failure",
        Failure::UnknownBlob { .. } => "unknown blob",
        Failure::NotUndoable(_) => "not undoable",
        Failure::Undo(_) => "undo failure",
        Failure::UnknownIterator(_) => "unknown iterator",
        Failure::Value(_) => "wrong value",
    }
}

pub(super) fn of_push(push: &Push) -> &'static str {
    match push {
        Push::Invalidate { .. } => "invalidate",
        Push::Info { .. } => "info",
        Push::BlobStart { .. } => "blob start",
        Push::BlobChunk { .. } => "blob chunk",
        Push::BlobStop { .. } => "blob stop",
    }
}
