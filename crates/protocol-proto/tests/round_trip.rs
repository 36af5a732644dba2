//! Every message survives the codec, and no bytes at all make it panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{
    Begin, Call, Codec, Expect, Failure, Incoming, Limits, Loaded, Push, Reply, Request,
    TransactionFault, TransactionId, UndoLog, Wanted,
};
use protocol_proto::Proto;

use crate::support::{pushes, replies, requests};

proptest! {
    #[test]
    fn requests_survive(number in 1..=u64::MAX, request in requests()) {
        let call = Proto::new(Limits::default()).decode_request(&encoded(number, &request));
        let call = call.unwrap();
        prop_assert_eq!(call.id.is_some(), request.expects().is_some());
        prop_assert_eq!(call.request, request);
    }

    /// The id of the answer is the one of the call, whatever it was.
    #[test]
    fn replies_survive(number in 1..=u64::MAX, reply in replies()) {
        let mut codec = Proto::new(Limits::default());
        let id = codec.decode_request(&encoded(number, &Request::Ping)).unwrap().id.unwrap();
        let mut out = Vec::new();
        codec.encode_reply(&id, &reply, &mut out);
        if let Reply::Loaded(Some(Loaded { data, tid, end })) = &reply {
            let mut same = Vec::new();
            let loaded = Loaded { data: &data[..], tid: *tid, end: *end };
            codec.encode_loaded(&id, loaded, &mut same);
            prop_assert_eq!(&same, &out);
        }
        let expected = expect(&reply);
        let incoming = codec.decode_incoming(&out.into(), &mut |asked| {
            (asked == number).then_some(expected)
        });
        prop_assert_eq!(incoming, Ok(Incoming::Reply { number, reply }));
    }

    #[test]
    fn pushes_survive(push in pushes()) {
        let mut codec = Proto::new(Limits::default());
        let mut out = Vec::new();
        codec.encode_push(&push, &mut out);
        let incoming = codec.decode_incoming(&out.into(), &mut |_| None);
        prop_assert_eq!(incoming, Ok(Incoming::Push(push)));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
        decode_everything(bytes);
    }

    #[test]
    fn mutated_requests_do_no_harm(
        request in requests(), at: prop::sample::Index, with: u8, cut: prop::sample::Index,
    ) {
        let mut bytes = encoded(7, &request).to_vec();
        mutate(&mut bytes, at, with, cut);
        decode_everything(bytes);
    }

    #[test]
    fn mutated_replies_do_no_harm(
        reply in replies(), at: prop::sample::Index, with: u8, cut: prop::sample::Index,
    ) {
        let mut codec = Proto::new(Limits::default());
        let id = codec.decode_request(&encoded(7, &Request::Ping)).unwrap().id.unwrap();
        let mut bytes = Vec::new();
        codec.encode_reply(&id, &reply, &mut bytes);
        mutate(&mut bytes, at, with, cut);
        decode_everything(bytes);
    }
}

#[test]
fn data_are_slices_of_the_frame() {
    let data = Bytes::from(vec![b'x'; 1000]);
    let request = Request::Store {
        transaction: TransactionId(1),
        oid: protocol::Oid(1),
        serial: protocol::Tid(1),
        data: data.clone(),
    };
    let frame = encoded(0, &request);
    let call = Proto::new(Limits::default()).decode_request(&frame).unwrap();
    let Request::Store { data, .. } = call.request else { panic!("a store") };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));

    let chunk = Request::BlobChunk { oid: Some(protocol::Oid(1)), data };
    let frame = encoded(0, &chunk);
    let call = Proto::new(Limits::default()).decode_request(&frame).unwrap();
    let Request::BlobChunk { data, .. } = call.request else { panic!("a chunk") };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));

    let mut codec = Proto::new(Limits::default());
    let id = codec.decode_request(&encoded(1, &Request::Ping)).unwrap().id.unwrap();
    let mut out = Vec::new();
    codec.encode_reply(&id, &Reply::Data(data), &mut out);
    let frame = Bytes::from(out);
    let incoming = codec.decode_incoming(&frame, &mut |_| Some(Expect::Data)).unwrap();
    let Incoming::Reply { reply: Reply::Data(data), .. } = incoming else { panic!("data") };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn a_request_without_its_oid_is_invalid_and_does_not_mean_the_root() {
    // ClientMessage { id: 7, load_before: LoadBefore {} }
    let call = decoded(b"\x08\x07\x32\x00").unwrap();
    let failure = Failure::Arguments("no oid".to_owned());
    assert_eq!(call.request, Request::Invalid { transaction: None, failure: failure.clone() });
    // ClientMessage { delete: Delete { transaction: 9 } }
    let call = decoded(b"\x62\x02\x08\x09").unwrap();
    let transaction = Some(TransactionId(9));
    assert_eq!(call, Call { id: None, request: Request::Invalid { transaction, failure } });
}

#[test]
fn a_part_of_a_blob_says_whose_it_is() {
    // ClientMessage { blob_start: BlobStart {} }, then { blob_chunk: BlobChunk { data: "x" } }
    for part in [&b"\xba\x01\x00"[..], b"\xc2\x01\x03\x12\x01x"] {
        let failure = Failure::Arguments("no oid".to_owned());
        let request = Request::Invalid { transaction: None, failure };
        assert_eq!(decoded(part), Ok(Call { id: None, request }));
    }
}

#[test]
fn a_filter_of_the_undo_log_is_one_messagepack_value_or_a_prefix() {
    let undo_log = |wanted| {
        let filter = vec![("key".to_owned(), wanted)];
        Request::UndoLog(UndoLog { first: 0, last: 9, filter })
    };
    let prefix = undo_log(Wanted::Prefix(String::new()));
    let decode = |request| {
        Proto::new(Limits::default()).decode_request(&encoded(3, &request)).unwrap().request
    };
    assert_eq!(decode(prefix.clone()), prefix);
    for (value, is_value) in
        [(&b"\x01"[..], true), (b"", false), (b"\x01\x01", false), (b"\xa5", false)]
    {
        let request = undo_log(Wanted::Value(Bytes::from_static(value)));
        let refused = matches!(
            decode(request),
            Request::Invalid { transaction: None, failure: Failure::Arguments(_) }
        );
        assert_eq!(refused, !is_value, "{value:?}");
    }
    // ClientMessage { id: 1, get_undo_log: GetUndoLog { filter: [Wanted { key: "k" }] } }
    let nothing = decoded(b"\x08\x01\xea\x01\x05\x1a\x03\x0a\x01k").unwrap().request;
    assert!(matches!(nothing, Request::Invalid { failure: Failure::Arguments(_), .. }));
}

#[test]
fn a_status_is_an_ascii_character() {
    // ClientMessage { begin: Begin { transaction: 9, status: 200 } }
    let call = decoded(b"\x52\x05\x08\x09\x30\xc8\x01").unwrap();
    assert!(matches!(
        call.request,
        Request::Invalid { transaction: Some(TransactionId(9)), failure: Failure::Arguments(_) }
    ));
}

#[test]
fn an_extension_is_one_messagepack_map() {
    for (extension, is_map) in [
        (&b""[..], true),
        (b"\x80", true),
        (b"\x81\xa1k\x01", true),
        (b"\x90", false),
        (b"\x81\xa1k", false),
        (b"\x80\x80", false),
        (b"not at all", false),
    ] {
        let begin = Begin {
            transaction: TransactionId(9),
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::from_static(extension),
            tid: None,
            status: b' ',
        };
        let request = Request::Begin(begin);
        let call =
            Proto::new(Limits::default()).decode_request(&encoded(0, &request)).expect("a message");
        if is_map {
            assert_eq!(call.request, request);
        } else {
            let transaction = Some(TransactionId(9));
            let failure = Failure::Arguments("the extension is not a MessagePack map".to_owned());
            assert_eq!(call.request, Request::Invalid { transaction, failure });
        }
    }
}

#[test]
fn a_finish_of_nothing_is_told_as_an_error() {
    let mut codec = Proto::new(Limits::default());
    let finish = Request::Finish { transaction: TransactionId(4) };
    let id = codec.decode_request(&encoded(3, &finish)).unwrap().id.unwrap();
    let fault = TransactionFault::Wrong { current: None, given: TransactionId(4) };
    let mut out = Vec::new();
    codec.encode_reply(&id, &Reply::NotFinished(fault), &mut out);
    let expects = finish.expects();
    let told = codec.decode_incoming(&Bytes::from(out), &mut |_| expects).unwrap();
    let reply = Reply::Failed(fault.into());
    assert_eq!(told, Incoming::Reply { number: 3, reply });
}

#[test]
fn ids_tell_calls_from_one_way_requests() {
    assert!(decoded(b"\x9a\x01\x00").is_err(), "a ping without an id");
    assert!(decoded(b"\x08\x01\xa2\x01\x00").is_err(), "a label with an id");
    assert!(decoded(b"\x08\x01").is_err(), "no request");
    assert!(decoded(b"\x08\x01\xfa\x0f\x00").is_err(), "a request from the future");
    assert!(decoded(b"\x08\x01\x9a\x01\x00\xf8\x0f\x00").is_ok(), "a field from the future");
}

#[test]
fn requests_of_other_protocols_are_refused_by_the_server() {
    let nameless = Request::BlobStart { oid: None };
    let wide = Request::Vote { transaction: TransactionId(-1) };
    for request in [nameless, wide] {
        assert!(Proto::new(Limits::default()).decode_request(&encoded(1, &request)).is_err());
    }
}

#[test]
fn answers_have_to_fit_what_was_asked() {
    let mut codec = Proto::new(Limits::default());
    let id = codec.decode_request(&encoded(3, &Request::Ping)).unwrap().id.unwrap();
    let mut out = Vec::new();
    codec.encode_reply(&id, &Reply::Voted, &mut out);
    let frame = Bytes::from(out);
    assert!(codec.decode_incoming(&frame, &mut |_| Some(Expect::Vote)).is_ok());
    assert!(codec.decode_incoming(&frame, &mut |_| Some(Expect::Done)).is_err());
    assert!(codec.decode_incoming(&frame, &mut |_| None).is_err());
    let push = Push::Info { length: 1, size: 1 };
    let mut out = b"\x08\x03".to_vec();
    codec.encode_push(&push, &mut out);
    assert!(codec.decode_incoming(&out.into(), &mut |_| Some(Expect::Done)).is_err());
    // ServerMessage { id: 3, conflicts: Conflicts {} }
    let none = Bytes::from_static(b"\x08\x03\x52\x00");
    assert!(codec.decode_incoming(&none, &mut |_| Some(Expect::Vote)).is_err());
    // ServerMessage { id: 3, determined: Determined {} }
    let none = Bytes::from_static(b"\x08\x03\x7a\x00");
    assert!(codec.decode_incoming(&none, &mut |_| Some(Expect::Vote)).is_err());
}

#[test]
fn limits_hold_in_both_directions() {
    let limits = Limits { message_bytes: 10, ..Limits::default() };
    let frame = encoded(1, &Request::Label("x".repeat(20)));
    assert!(Proto::new(limits).decode_request(&frame).is_err());
    assert!(Proto::new(limits).decode_incoming(&frame, &mut |_| None).is_err());
}

fn encoded(number: u64, request: &Request) -> Bytes {
    let mut out = b"before".to_vec();
    Proto::new(Limits::default()).encode_request(number, request, &mut out);
    Bytes::from(out).slice(6..)
}

fn decoded(frame: &'static [u8]) -> Result<Call, protocol::Malformed> {
    Proto::new(Limits::default()).decode_request(&Bytes::from_static(frame))
}

fn decode_everything(bytes: Vec<u8>) {
    let frame = Bytes::from(bytes);
    let mut codec = Proto::new(Limits { values: 10, ..Limits::default() });
    _ = codec.decode_request(&frame);
    for expected in [Expect::Done, Expect::Loaded, Expect::Vote, Expect::UndoLog] {
        _ = codec.decode_incoming(&frame, &mut |_| Some(expected));
    }
    _ = Proto::answer(&frame);
    _ = Proto::accepts(&frame);
}

fn mutate(bytes: &mut Vec<u8>, at: prop::sample::Index, with: u8, cut: prop::sample::Index) {
    if !bytes.is_empty() {
        let at = at.index(bytes.len());
        bytes[at] = with;
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
    }
}

fn expect(reply: &Reply) -> Expect {
    match reply {
        Reply::Done | Reply::Failed(_) => Expect::Done,
        Reply::Tid(_) | Reply::NotFinished(_) => Expect::Tid,
        Reply::Info(_) => Expect::Info,
        Reply::Invalidations(_) => Expect::Invalidations,
        Reply::Loaded(_) => Expect::Loaded,
        Reply::Data(_) => Expect::Data,
        Reply::Oids(_) => Expect::Oids,
        Reply::Voted | Reply::Determined(_) | Reply::Conflicts(_) => Expect::Vote,
        Reply::Status(_) => Expect::Status,
        Reply::History(_) => Expect::History,
        Reply::UndoLog(_) => Expect::UndoLog,
        Reply::CurrentRecord(_) => Expect::CurrentRecord,
        Reply::Iterator(_) => Expect::Iterator,
        Reply::Transaction(_) => Expect::Transaction,
        Reply::TransactionRecord(_) => Expect::TransactionRecord,
    }
}
