//! What was committed: revisions, transactions and their records.

use protocol::{
    CurrentRecord, Malformed, Oid, Tid, TransactionHead, TransactionRecord, TransactionSummary,
};

use crate::generated as wire;

pub(super) fn encode_history(revisions: &[TransactionSummary]) -> wire::History {
    wire::History { revisions: revisions.iter().map(encode_summary).collect() }
}

pub(super) fn encode_undo_log(transactions: &[TransactionSummary]) -> wire::UndoLog {
    wire::UndoLog { transactions: transactions.iter().map(encode_summary).collect() }
}

fn encode_summary(summary: &TransactionSummary) -> wire::TransactionSummary {
    wire::TransactionSummary {
        tid: summary.tid.0,
        size: summary.size,
        user: summary.user.clone(),
        description: summary.description.clone(),
        extension: summary.extension.clone(),
    }
}

pub(super) fn decode_summaries(
    summaries: Vec<wire::TransactionSummary>,
) -> Vec<TransactionSummary> {
    let summary = |summary: wire::TransactionSummary| TransactionSummary {
        tid: Tid(summary.tid),
        size: summary.size,
        user: summary.user,
        description: summary.description,
        extension: summary.extension,
    };
    summaries.into_iter().map(summary).collect()
}

pub(super) fn encode_current(record: &CurrentRecord) -> wire::CurrentRecord {
    wire::CurrentRecord {
        oid: record.oid.0,
        tid: record.tid.0,
        data: record.data.clone(),
        next: record.next.map(|next| next.0),
    }
}

pub(super) fn decode_current(record: wire::CurrentRecord) -> CurrentRecord {
    CurrentRecord {
        oid: Oid(record.oid),
        tid: Tid(record.tid),
        data: record.data,
        next: record.next.map(Oid),
    }
}

pub(super) fn encode_transaction(head: Option<&TransactionHead>) -> wire::Transaction {
    head.map_or_else(wire::Transaction::default, |head| wire::Transaction {
        tid: Some(head.tid.0),
        status: if head.status == b' ' { 0 } else { head.status.into() },
        user: head.user.clone(),
        description: head.description.clone(),
        extension: head.extension.clone(),
    })
}

pub(super) fn decode_transaction(
    transaction: wire::Transaction,
) -> Result<Option<TransactionHead>, Malformed> {
    let Some(tid) = transaction.tid else { return Ok(None) };
    let status = match u8::try_from(transaction.status) {
        Ok(0) => b' ',
        Ok(status) => status,
        Err(_) => return Err(Malformed("a status that is not a character".to_owned())),
    };
    Ok(Some(TransactionHead {
        tid: Tid(tid),
        status,
        user: transaction.user,
        description: transaction.description,
        extension: transaction.extension,
    }))
}

pub(super) fn encode_record(record: Option<&TransactionRecord>) -> wire::TransactionRecord {
    record.map_or_else(wire::TransactionRecord::default, |record| wire::TransactionRecord {
        oid: Some(record.oid.0),
        tid: record.tid.0,
        data: record.data.clone(),
        origin: record.origin.map(|origin| origin.0),
        has_blob: record.has_blob,
    })
}

pub(super) fn decode_record(record: wire::TransactionRecord) -> Option<TransactionRecord> {
    Some(TransactionRecord {
        oid: Oid(record.oid?),
        tid: Tid(record.tid),
        data: record.data,
        origin: record.origin.map(Tid),
        has_blob: record.has_blob,
    })
}
