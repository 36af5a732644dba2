//! Recorded sessions between a client and ZEO 6.2 (`data/extract.py` makes the files): what we
//! decode and encode has to be those bytes.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::{Call, Codec, Expect, Failure, Incoming, Limits, MessageId, Push, Reply, Request};

/// What a session's messages were good for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests that our client encodes as ZEO's does.
    pub(crate) requests: usize,
    /// Requests whose arguments are wrong.
    pub(crate) refused: usize,
    /// Requests that our client would write otherwise; see `same_bytes`.
    pub(crate) loose: usize,
    /// Messages that close the connection.
    pub(crate) malformed: usize,
    /// Answers that our server encodes as ZEO's does.
    pub(crate) replies: usize,
    /// Pushes, likewise.
    pub(crate) pushes: usize,
    /// Failures that our server tells otherwise, and one that our client cannot read.
    pub(crate) foreign: usize,
    /// Answers to requests that were not recorded.
    pub(crate) unasked: usize,
}

/// Every message of `sessions`, in order.
pub(crate) fn messages(sessions: &str) -> impl Iterator<Item = (&str, &str, Bytes)> {
    sessions.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let (connection, direction) = (words.next().unwrap(), words.next().unwrap());
        (connection, direction, words.next().map(unhex).unwrap_or_default())
    })
}

/// Checks every message of `sessions`.
pub(crate) fn check<C: Codec>(sessions: &str) -> Counts {
    let mut counts = Counts::default();
    let mut codec = C::new(Limits::default());
    let mut waiting: HashMap<(&str, Vec<u8>), (Call, Expect)> = HashMap::new();
    for (connection, direction, frame) in messages(sessions) {
        match direction {
            "=" => waiting.retain(|(of, _), _| *of != connection),
            ">" => {
                let Ok(call) = codec.decode_request(&frame) else {
                    counts.malformed += 1;
                    continue;
                };
                request(&mut codec, &call, &frame, &mut counts);
                if let (Some(id), Some(expect)) = (&call.id, call.request.expects()) {
                    waiting.insert((connection, id.0.to_vec()), (call, expect));
                }
            }
            "<" => from_server(&mut codec, &frame, connection, &mut waiting, &mut counts),
            other => panic!("{other} is no direction"),
        }
    }
    counts
}

fn request<C: Codec>(codec: &mut C, call: &Call, frame: &Bytes, counts: &mut Counts) {
    match call.request {
        Request::Invalid { .. } => counts.refused += 1,
        _ => {
            let mut out = Vec::new();
            codec.encode_request(number(call), &call.request, &mut out);
            if out == *frame {
                counts.requests += 1;
            } else {
                assert!(
                    is_loose(&call.request),
                    "{call:?}\n ours {}\n ZEO's {}",
                    hex(&out),
                    hex(frame)
                );
                let same = codec.decode_request(&out.into()).unwrap().request;
                let packs = matches!(same, Request::Pack { .. });
                assert!(packs || same == call.request, "{call:?} {same:?}");
                counts.loose += 1;
            }
        }
    }
}

/// Loads by the pair (oid, tid); without an argument, or with one that says the same in other words;
/// a pack, at a time that loses its last digits as a tid.
fn is_loose(request: &Request) -> bool {
    matches!(
        request,
        Request::LoadBefore { .. }
            | Request::History { .. }
            | Request::UndoLog(_)
            | Request::Pack { .. }
    )
}

/// The small integers that ZEO's clients number calls with are the last byte of their encoding in
/// both encodings.
fn number(call: &Call) -> u64 {
    call.id.as_ref().map_or(0, |id| u64::from(*id.0.last().unwrap()))
}

fn from_server<C: Codec>(
    codec: &mut C,
    frame: &Bytes,
    connection: &str,
    waiting: &mut HashMap<(&str, Vec<u8>), (Call, Expect)>,
    counts: &mut Counts,
) {
    let answered = waiting
        .iter()
        .find(|((of, id), _)| *of == connection && answers(frame, id))
        .map(|((_, id), _)| id.clone());
    let Some(id) = answered else {
        match codec.decode_incoming(frame, &mut |_| None) {
            Ok(Incoming::Push(push)) => {
                assert_eq!(encoded_push(codec, &push), *frame, "{push:?}");
                counts.pushes += 1;
            }
            Err(_) if contains(frame, b".reply") => counts.unasked += 1,
            other => panic!("{other:?} of {}", hex(frame)),
        }
        return;
    };
    let key = waiting.keys().find(|(of, waits)| *of == connection && *waits == id).cloned();
    let (call, expect) = waiting.remove(&key.unwrap()).unwrap();
    // Our client's ids are numbers: the one that it knows the reply by takes the id's place.
    let numbered = with_number::<C>(codec, frame, &id);
    match codec.decode_incoming(&numbered, &mut |number| (number == 1).then_some(expect)) {
        Ok(Incoming::Reply { number: 1, reply }) => {
            let mut out = Vec::new();
            codec.encode_reply(&MessageId(id.into()), &reply, &mut out);
            if is_ours(&reply) {
                assert_eq!(out, *frame, "{call:?} {reply:?}");
                counts.replies += 1;
            } else {
                counts.foreign += 1;
            }
        }
        // Pickled exceptions in the failure of an undo.
        Err(_) if contains(frame, b"MultipleUndoErrors") => counts.foreign += 1,
        other => panic!("{other:?} of {}", hex(frame)),
    }
}

fn is_ours(reply: &Reply) -> bool {
    !matches!(
        reply,
        Reply::Failed(Failure::Storage(_) | Failure::Undo(_) | Failure::UnknownBlob { .. })
    )
}

fn contains(frame: &Bytes, part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

/// Whether `frame` is `(id, flag, '.reply', ...)`.
fn answers(frame: &Bytes, id: &[u8]) -> bool {
    let behind = frame.windows(id.len()).take(4).position(|window| window == id);
    behind.is_some_and(|at| {
        let rest = &frame[at + id.len()..];
        rest.windows(6).take(10).any(|window| window == b".reply")
    })
}

fn with_number<C: Codec>(codec: &mut C, frame: &Bytes, id: &[u8]) -> Bytes {
    let mut ping = Vec::new();
    codec.encode_request(1, &Request::Ping, &mut ping);
    let one = codec.decode_request(&ping.into()).unwrap().id.unwrap();
    let at = frame.windows(id.len()).position(|window| window == id).unwrap();
    [&frame[..at], &one.0[..], &frame[at + id.len()..]].concat().into()
}

fn encoded_push<C: Codec>(codec: &mut C, push: &Push) -> Vec<u8> {
    let mut out = Vec::new();
    codec.encode_push(push, &mut out);
    out
}

fn unhex(text: &str) -> Bytes {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) * 16 + digit(pair[1])).unwrap())
        .collect()
}

/// For messages of failed assertions.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
