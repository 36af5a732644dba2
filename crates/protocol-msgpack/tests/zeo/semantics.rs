//! What the golden sessions do not show: loose and wrong arguments, refusals, limits.

use bytes::Bytes;
use protocol::zeo::{Encoding, Writer, Zeo};
use protocol::{
    Begin, Call, Codec, Expect, Failure, Incoming, Limits, Loaded, Malformed, Oid, Reply, Request,
    Tid, TransactionId,
};

/// `(id, flag, name, arguments)`; a one-way message has id 0.
pub(crate) fn message<E: Encoding>(
    id: i128,
    name: &str,
    count: usize,
    arguments: impl FnOnce(&mut E::Writer<'_>),
) -> Bytes {
    let mut out = Vec::new();
    E::write(&mut out, |writer| {
        writer.tuple(4, |writer| {
            writer.int(id);
            writer.bool(id == 0);
            writer.str(name);
            writer.tuple(count, arguments);
        });
    });
    out.into()
}

fn decode<E: Encoding>(frame: &Bytes) -> Result<Call, Malformed> {
    Zeo::<E>::new(Limits::default()).decode_request(frame)
}

pub(crate) fn request<E: Encoding>(frame: &Bytes) -> Request {
    decode::<E>(frame).unwrap().request
}

/// Decodes a storea of transaction 7.
fn store<E: Encoding>(write: impl FnOnce(&mut E::Writer<'_>)) -> Request {
    request::<E>(&message::<E>(0, "storea", 4, |writer| {
        write(writer);
        writer.int(7);
    }))
}

pub(crate) fn serials_and_data_are_loose<E: Encoding>() {
    let (transaction, oid) = (TransactionId(7), Oid(1));
    let expected = |serial, data: &'static str| Request::Store {
        transaction,
        oid,
        serial,
        data: Bytes::from(data),
    };
    let none = store::<E>(|writer| {
        writer.bytes(&oid.to_bytes());
        writer.nil();
        writer.bytes(b"data");
    });
    assert_eq!(none, expected(Tid::ZERO, "data"));
    let text = store::<E>(|writer| {
        writer.bytes(&oid.to_bytes());
        writer.str("\0\0\0\0\0\0\0\0");
        writer.str("text");
    });
    assert_eq!(text, expected(Tid::ZERO, "text"));
    let bytes = store::<E>(|writer| {
        writer.bytes(&oid.to_bytes());
        writer.bytes(&Tid(3).to_bytes());
        writer.bytes(b"");
    });
    assert_eq!(bytes, expected(Tid(3), ""));
}

pub(crate) fn a_begin_may_be_short_and_may_be_a_call<E: Encoding>() {
    let begin = |id, count| {
        message::<E>(id, "tpc_begin", count, |writer| {
            writer.int(1 << 40);
            writer.str("user");
            writer.bytes(b"what");
            writer.map(1, |writer| {
                writer.str("k");
                writer.tuple(2, |writer| {
                    writer.int(-5);
                    writer.bytes(b"v");
                });
            });
            if count > 4 {
                writer.bytes(&Tid(9).to_bytes());
                writer.str("p");
            }
        })
    };
    let mut expected = Begin {
        transaction: TransactionId(1 << 40),
        user: Bytes::from("user"),
        description: Bytes::from("what"),
        extension: Bytes::from(&b"\x81\xa1k\x92\xfb\xc4\x01v"[..]),
        tid: None,
        status: b' ',
    };
    let call = decode::<E>(&begin(3, 4)).unwrap();
    assert!(call.id.is_some(), "a call is answered, whatever it calls");
    assert_eq!(call.request, Request::Begin(expected.clone()));
    expected.tid = Some(Tid(9));
    expected.status = b'p';
    let call = decode::<E>(&begin(0, 6)).unwrap();
    assert_eq!(call, Call { id: None, request: Request::Begin(expected) });
}

pub(crate) fn wrong_arguments_of_calls_are_told<E: Encoding>() {
    let short = decode::<E>(&message::<E>(1, "loadBefore", 1, |writer| writer.bytes(&[0; 8])));
    let short = short.unwrap();
    assert!(short.id.is_some());
    let Request::Invalid { transaction: None, failure: Failure::Arguments(why) } = short.request
    else {
        panic!("{short:?}")
    };
    assert_eq!(why, "loadBefore() takes 2 arguments but 1 were given");

    let bad_id = request::<E>(&message::<E>(1, "loadBefore", 2, |writer| {
        writer.bytes(b"short");
        writer.bytes(&[0; 8]);
    }));
    let failure = Failure::BadId(Bytes::from("short"));
    assert_eq!(bad_id, Request::Invalid { transaction: None, failure });

    let vote = request::<E>(&message::<E>(1, "vote", 1, |writer| writer.str("seven")));
    assert!(matches!(vote, Request::Invalid { transaction: None, failure: Failure::Arguments(_) }));
}

pub(crate) fn wrong_arguments_of_writes_are_their_transactions<E: Encoding>() {
    let transaction = Some(TransactionId(7));
    let bad_oid = store::<E>(|writer| {
        writer.bytes(b"123456789");
        writer.nil();
        writer.bytes(b"data");
    });
    let failure = Failure::BadId(Bytes::from("123456789"));
    assert_eq!(bad_oid, Request::Invalid { transaction, failure });
    let no_data = store::<E>(|writer| {
        writer.bytes(&[0; 8]);
        writer.nil();
        writer.nil();
    });
    assert!(matches!(
        no_data,
        Request::Invalid { transaction: Some(_), failure: Failure::Arguments(_) }
    ));
    let nameless = request::<E>(&message::<E>(0, "storea", 1, |writer| writer.int(7)));
    assert!(matches!(
        nameless,
        Request::Invalid { transaction: None, failure: Failure::Arguments(_) }
    ));
}

pub(crate) fn what_closes_the_connection<E: Encoding>() {
    assert!(decode::<E>(&message::<E>(1, "load", 0, |_| ())).is_err());
    let mut out = Vec::new();
    E::write(&mut out, |writer| writer.tuple(2, |writer| (0..2).for_each(|_| writer.nil())));
    assert!(decode::<E>(&out.into()).is_err());
    let mut out = Vec::new();
    E::write(&mut out, |writer| writer.tuple(4, |writer| (0..4).for_each(|_| writer.nil())));
    assert!(decode::<E>(&out.into()).is_err());
    let mut twice = message::<E>(1, "ping", 0, |_| ()).to_vec();
    assert!(decode::<E>(&twice.clone().into()).is_ok());
    twice.extend_from_within(..);
    assert!(decode::<E>(&twice.into()).is_err());
}

pub(crate) fn limits_hold<E: Encoding>() {
    let limits = Limits { message_bytes: 1000, depth: 4, values: 20 };
    let mut codec = Zeo::<E>::new(limits);
    let mut check = |frame: &Bytes| codec.decode_request(frame).map(|call| call.request);
    let bytes = |len| message::<E>(0, "storeBlobChunk", 1, |writer| writer.bytes(&vec![0; len]));
    assert!(check(&bytes(900)).is_ok());
    assert!(check(&bytes(1000)).is_err());
    let values = |count: usize| {
        message::<E>(1, "history", count, |writer| (0..count).for_each(|_| writer.nil()))
    };
    assert!(check(&values(15)).is_ok());
    assert!(check(&values(16)).is_err());
    let deep = |depth| message::<E>(1, "history", 1, |writer| nested(writer, depth));
    assert!(check(&deep(2)).is_ok());
    assert!(check(&deep(3)).is_err());
}

fn nested(writer: &mut impl Writer, depth: usize) {
    match depth {
        0 => writer.nil(),
        _ => writer.list(std::iter::once(depth - 1), |writer, depth| nested(writer, depth)),
    }
}

pub(crate) fn record_data_are_slices_of_the_frame<E: Encoding>() {
    let frame = message::<E>(0, "storea", 4, |writer| {
        writer.bytes(&[0; 8]);
        writer.nil();
        writer.bytes(b"a record's bytes");
        writer.int(7);
    });
    let Request::Store { data, .. } = request::<E>(&frame) else { panic!("no store") };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));
}

/// Exceptions that a server of ours does not send, ZEO's do.
pub(crate) fn foreign_errors_are_readable<E: Encoding>() {
    let error = |name: &str, text: &str| {
        let mut out = Vec::new();
        E::write(&mut out, |writer| {
            writer.tuple(4, |writer| {
                writer.int(5);
                writer.int(2);
                writer.str(".reply");
                writer.tuple(2, |writer| {
                    writer.str(name);
                    writer.tuple(1, |writer| writer.str(text));
                });
            });
        });
        Zeo::<E>::new(Limits::default())
            .decode_incoming(&out.into(), &mut |_| Some(Expect::Loaded))
            .unwrap()
    };
    let storage = |text: &str| Incoming::Reply {
        number: 5,
        reply: Reply::Failed(Failure::Storage(text.to_owned())),
    };
    assert_eq!(
        error("builtins.ZeroDivisionError", "why"),
        storage("builtins.ZeroDivisionError: why")
    );
    assert_eq!(error("builtins.KeyError", "odd"), storage("builtins.KeyError: odd"));
}

pub(crate) fn handshakes<E: Encoding>() {
    let greeting = Zeo::<E>::greeting();
    assert_eq!(greeting, [E::LETTER, b'5']);
    assert_eq!(Zeo::<E>::answer(&greeting), Ok(greeting.clone()));
    assert_eq!(Zeo::<E>::answer(&[E::LETTER, b'6', b'1']), Ok(greeting.clone()));
    for wrong in [&[E::LETTER, b'4'][..], &[E::LETTER], &[E::LETTER + 1, b'5'], b""] {
        assert!(Zeo::<E>::answer(wrong).is_err());
    }
    assert!(Zeo::<E>::accepts(&greeting));
    for wrong in [&[E::LETTER, b'4'][..], &[E::LETTER, b'5', b'0'], &[E::LETTER], b"ruok", b""] {
        assert!(!Zeo::<E>::accepts(wrong));
    }
}

/// A codec is used again after each message: what one left behind must not show in the next.
pub(crate) fn codecs_are_used_again<E: Encoding>() {
    let mut codec = Zeo::<E>::new(Limits::default());
    let many = message::<E>(1, "history", 10_000, |writer| (0..10_000).for_each(|_| writer.nil()));
    let cut = many.slice(..many.len() / 2);
    for _ in 0..2 {
        assert!(codec.decode_request(&many).is_ok());
        assert!(codec.decode_request(&cut).is_err());
        assert!(codec.decode_request(&message::<E>(1, "ping", 0, |_| ())).is_ok());
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let id = super::round_trip::id_of::<Zeo<E>>(5);
    let loaded = Loaded { data: &b"x"[..], tid: Tid(1), end: None };
    codec.encode_loaded(&id, loaded, &mut one);
    Zeo::<E>::new(Limits::default()).encode_loaded(&id, loaded, &mut other);
    assert_eq!(one, other);
}
