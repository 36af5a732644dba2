//! Messages to bytes and back.

use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use protocol::{Malformed, Oid, Tid, TransactionHead};

use crate::epoch::{Epoch, EpochStart, History};
use crate::generated::{self as wire, item, to_primary, to_secondary};
use crate::item::{Item, Position, Record};
use crate::limits::{FIELDS_MAX, SMALL_FRAME_BYTES_MAX};
use crate::message::{Ack, Head, Hello, Message, Reason, Refusal, ToPrimary, ToSecondary, Welcome};

impl Message for ToPrimary {
    fn encode(&self, out: &mut Vec<u8>) {
        use to_primary::Body;
        let body = match self {
            Self::Hello(hello) => Body::Hello(from_hello(hello)),
            Self::Ack(ack) => {
                Body::Ack(wire::Ack { tid: ack.tid.0, highest: ack.highest.map(from_epoch) })
            }
            Self::Alive => Body::Alive(wire::Alive::default()),
            Self::Refusal(refusal) => Body::Refusal(from_refusal(refusal)),
        };
        put(&wire::ToPrimary { body: Some(body) }, out);
    }

    fn decode(payload: Bytes) -> Result<Self, Malformed> {
        use to_primary::Body;
        check(&payload)?;
        check_small(payload.len())?;
        Ok(match wire::ToPrimary::decode(payload).map_err(undecodable)?.body {
            Some(Body::Hello(hello)) => Self::Hello(to_hello(hello)?),
            Some(Body::Ack(wire::Ack { tid, highest })) => {
                Self::Ack(Ack { tid: Tid(tid), highest: highest.map(to_epoch).transpose()? })
            }
            Some(Body::Alive(_)) => Self::Alive,
            Some(Body::Refusal(refusal)) => Self::Refusal(to_refusal(refusal)?),
            None => return Err(lacks("a body that is known")),
        })
    }
}

impl Message for ToSecondary {
    fn encode(&self, out: &mut Vec<u8>) {
        use to_secondary::Body;
        let body = match self {
            Self::Welcome(welcome) => Body::Welcome(from_welcome(welcome)),
            Self::Batch(items) => {
                Body::Batch(wire::Batch { items: items.iter().map(from_item).collect() })
            }
            Self::BlobStart(oid) => Body::BlobStart(wire::BlobStart { oid: oid.0 }),
            Self::BlobPart(data) => Body::BlobPart(wire::BlobPart { data: data.clone() }),
            Self::BlobEnd { bytes } => Body::BlobEnd(wire::BlobEnd { bytes: *bytes }),
            Self::BlobGone(oid) => Body::BlobGone(wire::BlobGone { oid: oid.0 }),
            Self::EpochStarts(start) => {
                Body::EpochStarts(wire::EpochStarts { start: Some(from_start(start)) })
            }
            Self::Alive(head) => Body::Alive(wire::Alive {
                position: Some(from_position(head.position)),
                clock_us: u64::try_from(head.clock.as_micros()).unwrap_or(u64::MAX),
                backlog_bytes: head.backlog_bytes,
            }),
            Self::Refusal(refusal) => Body::Refusal(from_refusal(refusal)),
        };
        put(&wire::ToSecondary { body: Some(body) }, out);
    }

    fn decode(payload: Bytes) -> Result<Self, Malformed> {
        use to_secondary::Body;
        check(&payload)?;
        let bytes = payload.len();
        let body = wire::ToSecondary::decode(payload).map_err(undecodable)?.body;
        match &body {
            Some(Body::Batch(batch)) if batch.items.len() <= 1 => {}
            _ => check_small(bytes)?,
        }
        Ok(match body {
            Some(Body::Welcome(welcome)) => Self::Welcome(to_welcome(welcome)?),
            Some(Body::Batch(wire::Batch { items })) => {
                Self::Batch(items.into_iter().map(to_item).collect::<Result<_, _>>()?)
            }
            Some(Body::BlobStart(wire::BlobStart { oid })) => Self::BlobStart(Oid(oid)),
            Some(Body::BlobPart(wire::BlobPart { data })) => Self::BlobPart(data),
            Some(Body::BlobEnd(wire::BlobEnd { bytes })) => Self::BlobEnd { bytes },
            Some(Body::BlobGone(wire::BlobGone { oid })) => Self::BlobGone(Oid(oid)),
            Some(Body::EpochStarts(wire::EpochStarts { start })) => {
                Self::EpochStarts(to_start(start.ok_or_else(|| lacks("a start"))?)?)
            }
            Some(Body::Alive(alive)) => Self::Alive(Head {
                position: to_position(alive.position),
                clock: Duration::from_micros(alive.clock_us),
                backlog_bytes: alive.backlog_bytes,
            }),
            Some(Body::Refusal(refusal)) => Self::Refusal(to_refusal(refusal)?),
            None => return Err(lacks("a body that is known")),
        })
    }
}

/// Refuses payloads of which many small fields would make large values.
fn check(payload: &[u8]) -> Result<(), Malformed> {
    // A field takes two bytes or more, so that only giants have to be counted.
    if payload.len() / 2 > FIELDS_MAX && fields(payload, MESSAGE_DEPTH) > FIELDS_MAX {
        return Err(Malformed(format!("more than {FIELDS_MAX} fields")));
    }
    Ok(())
}

/// Counts the fields of a message and of those in it, down to `depth` of them, until there are too many or the
/// rest cannot be decoded. Data that only look like messages are below that depth, or are counted in vain.
fn fields(mut message: &[u8], depth: u32) -> usize {
    let mut count = 0;
    while message.has_remaining() && count <= FIELDS_MAX {
        let Ok((tag, wire_type)) = decode_key(&mut message) else { break };
        count += 1;
        if depth > 1 && wire_type == WireType::LengthDelimited {
            let Some((body, rest)) = decode_varint(&mut message)
                .ok()
                .and_then(|length| message.split_at_checked(usize::try_from(length).ok()?))
            else {
                break;
            };
            count += fields(body, depth - 1);
            message = rest;
        } else if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
    count
}

/// What is repeated stands in the body of a message: the items of a batch, the starts of a history.
const MESSAGE_DEPTH: u32 = 2;

fn check_small(bytes: usize) -> Result<(), Malformed> {
    if bytes > SMALL_FRAME_BYTES_MAX {
        return Err(Malformed(format!(
            "{bytes} bytes, where the limit is {SMALL_FRAME_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn from_hello(hello: &Hello) -> wire::Hello {
    wire::Hello {
        oldest_version: hello.oldest_version,
        newest_version: hello.newest_version,
        storage: hello.storage.clone(),
        node: hello.node.clone(),
        history: from_history(&hello.history),
        position: Some(from_position(hello.position)),
        highest: hello.highest.map(from_epoch),
        wants_blobs: hello.wants_blobs,
        software: hello.software.clone(),
    }
}

fn to_hello(hello: wire::Hello) -> Result<Hello, Malformed> {
    Ok(Hello {
        oldest_version: hello.oldest_version,
        newest_version: hello.newest_version,
        storage: hello.storage,
        node: hello.node,
        history: to_history(hello.history)?,
        position: to_position(hello.position),
        highest: hello.highest.map(to_epoch).transpose()?,
        wants_blobs: hello.wants_blobs,
        software: hello.software,
    })
}

fn from_welcome(welcome: &Welcome) -> wire::Welcome {
    wire::Welcome {
        version: welcome.version,
        history: from_history(&welcome.history),
        position: Some(from_position(welcome.position)),
        packed_to: welcome.packed_to.0,
        node: welcome.node.clone(),
        software: welcome.software.clone(),
    }
}

fn to_welcome(welcome: wire::Welcome) -> Result<Welcome, Malformed> {
    Ok(Welcome {
        version: welcome.version,
        history: to_history(welcome.history)?,
        position: to_position(welcome.position),
        packed_to: Tid(welcome.packed_to),
        node: welcome.node,
        software: welcome.software,
    })
}

fn from_refusal(refusal: &Refusal) -> wire::Refusal {
    wire::Refusal {
        reason: from_reason(refusal.reason).into(),
        text: refusal.text.clone(),
        highest: refusal.highest.map(from_epoch),
        common: refusal.common.map(from_position),
    }
}

fn to_refusal(refusal: wire::Refusal) -> Result<Refusal, Malformed> {
    Ok(Refusal {
        reason: to_reason(refusal.reason()),
        text: refusal.text,
        highest: refusal.highest.map(to_epoch).transpose()?,
        common: refusal.common.map(|common| to_position(Some(common))),
    })
}

fn from_reason(reason: Reason) -> wire::Reason {
    match reason {
        Reason::Other => wire::Reason::Other,
        Reason::Version => wire::Reason::Version,
        Reason::UnknownStorage => wire::Reason::UnknownStorage,
        Reason::Diverged => wire::Reason::Diverged,
        Reason::Packed => wire::Reason::Packed,
        Reason::Fenced => wire::Reason::Fenced,
        Reason::Behind => wire::Reason::Behind,
        Reason::CannotServe => wire::Reason::CannotServe,
        Reason::Malformed => wire::Reason::Malformed,
    }
}

fn to_reason(reason: wire::Reason) -> Reason {
    match reason {
        wire::Reason::Other => Reason::Other,
        wire::Reason::Version => Reason::Version,
        wire::Reason::UnknownStorage => Reason::UnknownStorage,
        wire::Reason::Diverged => Reason::Diverged,
        wire::Reason::Packed => Reason::Packed,
        wire::Reason::Fenced => Reason::Fenced,
        wire::Reason::Behind => Reason::Behind,
        wire::Reason::CannotServe => Reason::CannotServe,
        wire::Reason::Malformed => Reason::Malformed,
    }
}

fn from_item(item: &Item) -> wire::Item {
    use item::Body;
    let body = match item {
        Item::Begin(head) => Body::Begin(wire::Begin {
            tid: head.tid.0,
            status: head.status.into(),
            user: head.user.clone(),
            description: head.description.clone(),
            extension: head.extension.clone(),
        }),
        Item::Record(record) => Body::Record(wire::Record {
            oid: record.oid.0,
            data: record.data.clone(),
            origin: record.origin.unwrap_or_default().0,
            has_blob: record.has_blob,
        }),
        Item::End { digest } => Body::End(wire::End { digest: *digest }),
    };
    wire::Item { body: Some(body) }
}

fn to_item(item: wire::Item) -> Result<Item, Malformed> {
    use item::Body;
    Ok(match item.body {
        Some(Body::Begin(begin)) => Item::Begin(TransactionHead {
            tid: Tid(begin.tid),
            status: u8::try_from(begin.status)
                .ok()
                .filter(u8::is_ascii)
                .ok_or_else(|| Malformed(format!("the status {} is not ASCII", begin.status)))?,
            user: begin.user,
            description: begin.description,
            extension: begin.extension,
        }),
        Some(Body::Record(record)) => Item::Record(Record {
            oid: Oid(record.oid),
            data: record.data,
            origin: Some(Tid(record.origin)).filter(|origin| *origin != Tid::ZERO),
            has_blob: record.has_blob,
        }),
        Some(Body::End(wire::End { digest })) => Item::End { digest },
        None => return Err(lacks("an item that is known")),
    })
}

fn from_history(history: &History) -> Vec<wire::EpochStart> {
    history.starts().iter().map(from_start).collect()
}

fn to_history(starts: Vec<wire::EpochStart>) -> Result<History, Malformed> {
    let starts = starts.into_iter().map(to_start).collect::<Result<_, _>>()?;
    History::new(starts).map_err(|unordered| Malformed(unordered.to_string()))
}

fn from_start(start: &EpochStart) -> wire::EpochStart {
    wire::EpochStart { epoch: Some(from_epoch(start.epoch)), base: Some(from_position(start.base)) }
}

fn to_start(start: wire::EpochStart) -> Result<EpochStart, Malformed> {
    let epoch = to_epoch(start.epoch.ok_or_else(|| lacks("an epoch"))?)?;
    Ok(EpochStart { epoch, base: to_position(start.base) })
}

fn from_epoch(epoch: Epoch) -> wire::Epoch {
    wire::Epoch { number: epoch.number, unique: Bytes::copy_from_slice(&epoch.unique) }
}

fn to_epoch(epoch: wire::Epoch) -> Result<Epoch, Malformed> {
    let unique = epoch.unique.as_ref().try_into().map_err(|_| lacks("16 bytes in an epoch"))?;
    Ok(Epoch { number: epoch.number, unique })
}

fn from_position(position: Position) -> wire::Position {
    wire::Position { tid: position.tid.0, digest: position.digest }
}

fn to_position(position: Option<wire::Position>) -> Position {
    let wire::Position { tid, digest } = position.unwrap_or_default();
    Position { tid: Tid(tid), digest }
}

fn put(message: &impl prost::Message, out: &mut Vec<u8>) {
    message.encode(out).expect("a Vec has room as long as there is memory");
}

fn undecodable(error: prost::DecodeError) -> Malformed {
    Malformed(error.to_string())
}

fn lacks(what: &str) -> Malformed {
    Malformed(format!("it lacks {what}"))
}
