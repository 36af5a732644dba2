//! Undo, history, iteration, blobs and pack: loose and wrong arguments, and extensions that get in
//! the way.

use std::time::Duration;

use bytes::Bytes;
use protocol::zeo::{Encoding, Writer, Zeo};
use protocol::{
    Codec, Expect, Failure, Incoming, Limits, Oid, Push, Reply, Request, Tid, TransactionHead,
    TransactionId, TransactionSummary, UndoLog, Wanted,
};

use super::round_trip::id_of;
use super::semantics::{message, request};

fn call<E: Encoding>(
    name: &str,
    count: usize,
    arguments: impl FnOnce(&mut E::Writer<'_>),
) -> Request {
    request::<E>(&message::<E>(1, name, count, arguments))
}

fn is_mistyped(request: &Request) -> bool {
    matches!(request, Request::Invalid { transaction: None, failure: Failure::Arguments(_) })
}

/// Which exception a wrong argument is, ZEO's suite looks at.
pub(crate) fn histories_of_what_is_no_object<E: Encoding>() {
    let no_object = call::<E>("history", 2, |writer| (0..2).for_each(|_| writer.nil()));
    let failure = Failure::BadId(Bytes::new());
    assert_eq!(no_object, Request::Invalid { transaction: None, failure });
    assert!(is_mistyped(&call::<E>("history", 2, |writer| {
        writer.bytes(&[0; 8]);
        writer.nil();
    })));
    let history = |count| Request::History { oid: Oid(0), count };
    assert_eq!(call::<E>("history", 1, |writer| writer.bytes(&[0; 8])), history(1));
    let none = call::<E>("history", 2, |writer| {
        writer.bytes(&[0; 8]);
        writer.int(-1);
    });
    assert_eq!(none, history(0));
}

pub(crate) fn slices_of_the_undo_log<E: Encoding>() {
    let cases: [(&[i128], u64, u64); 6] = [
        (&[], 0, 20),
        (&[3], 3, 23),
        (&[3, 7], 3, 7),
        (&[3, -7], 3, 10),
        (&[-5, -20], 0, 15),
        (&[0, i128::from(i64::MIN)], 0, 1 << 63),
    ];
    for (arguments, first, last) in cases {
        for name in ["undoLog", "undoInfo"] {
            let log = call::<E>(name, arguments.len(), |writer| {
                arguments.iter().for_each(|argument| writer.int(*argument));
            });
            assert_eq!(log, Request::UndoLog(UndoLog { first, last, filter: Vec::new() }));
        }
    }
    assert!(is_mistyped(&call::<E>("undoLog", 1, |writer| writer.nil())));
}

fn undo_info<E: Encoding>(filter: impl FnOnce(&mut E::Writer<'_>)) -> Request {
    call::<E>("undoInfo", 3, |writer| {
        writer.int(0);
        writer.int(9);
        filter(writer);
    })
}

pub(crate) fn filters_of_the_undo_log<E: Encoding>() {
    let log = |filter| Request::UndoLog(UndoLog { first: 0, last: 9, filter });
    assert_eq!(undo_info::<E>(|writer| writer.nil()), log(Vec::new()));
    assert_eq!(undo_info::<E>(|writer| writer.map(0, |_| ())), log(Vec::new()));
    let wanted = undo_info::<E>(|writer| {
        writer.map(1, |writer| {
            writer.str("user_name");
            writer.bytes(b"/ joe");
        });
    });
    let value = Wanted::Value(Bytes::from(&b"\xc4\x05/ joe"[..]));
    assert_eq!(wanted, log(vec![("user_name".to_owned(), value)]));

    assert!(is_mistyped(&undo_info::<E>(|writer| writer.int(1))));
    let numbered = undo_info::<E>(|writer| {
        writer.map(1, |writer| {
            writer.int(1);
            writer.nil();
        });
    });
    assert!(is_mistyped(&numbered));
}

pub(crate) fn names_of_transactions_to_undo<E: Encoding>() {
    let transaction = TransactionId(7);
    let undo = |id: &[u8]| {
        request::<E>(&message::<E>(0, "undoa", 2, |writer| {
            writer.bytes(id);
            writer.int(7);
        }))
    };
    assert_eq!(undo(b"AAAAAAAAAAM="), Request::Undo { transaction, tid: Tid(3) });
    assert_eq!(undo(b"AAAAAAAAAAM=\n"), Request::Undo { transaction, tid: Tid(3) });
    for wrong in [&b""[..], b"AAAAAAAAAA==", b"AAAAAAAAAAAA", b"AAAAAAAAAAAAAAAA", b"not base64!!"]
    {
        let failure = Failure::NotUndoable("Invalid transaction id".into());
        assert_eq!(undo(wrong), Request::Invalid { transaction: Some(transaction), failure });
    }
}

pub(crate) fn times_of_packs<E: Encoding>() {
    let pack = |time: f64| {
        call::<E>("pack", 2, |writer| {
            writer.float(time);
            writer.bool(true);
        })
    };
    let at = |seconds| Request::Pack {
        before: Tid::from_unix(Duration::from_secs(seconds)),
        wait: true,
    };
    assert_eq!(pack(1_795_408_839.0), at(1_795_408_839));
    assert_eq!(call::<E>("pack", 1, |writer| writer.int(1_795_408_839)), at(1_795_408_839));
    assert_eq!(call::<E>("pack", 1, |writer| writer.int(5 << 32)), at(5 << 32));
    assert_eq!(pack(-1.0), at(0));
    for late in [1e12, f64::MAX, f64::INFINITY] {
        assert_eq!(pack(late), at(100_000_000_000), "{late}");
    }
    let failure = Failure::Value("pack(): NaN is not a time".into());
    assert_eq!(pack(f64::NAN), Request::Invalid { transaction: None, failure });
    assert!(is_mistyped(&call::<E>("pack", 1, |writer| writer.nil())));
}

pub(crate) fn numbers_of_iterators<E: Encoding>() {
    let forgotten = request::<E>(&message::<E>(0, "iterator_gc", 1, |writer| {
        writer.tuple(4, |writer| {
            writer.int(3);
            writer.int(-3);
            writer.nil();
            writer.int(4);
        });
    }));
    assert_eq!(forgotten, Request::EndIterators { iterators: vec![3, 4] });
    for name in ["iterator_next", "iterator_record_next"] {
        assert!(is_mistyped(&call::<E>(name, 1, |writer| writer.int(-1))));
    }
    // ZEO's table has it, its server not.
    let new_oid = call::<E>("new_oid", 0, |_| ());
    assert!(matches!(
        new_oid,
        Request::Invalid { transaction: None, failure: Failure::Unsupported(_) }
    ));
}

/// A reply at a client.
fn sent<E: Encoding>(expect: Expect, reply: &Reply) -> Reply {
    let mut codec = Zeo::<E>::new(Limits::default());
    let mut out = Vec::new();
    codec.encode_reply(&id_of::<Zeo<E>>(1), reply, &mut out);
    match codec.decode_incoming(&out.into(), &mut |_| Some(expect)).unwrap() {
        Incoming::Reply { reply, .. } => reply,
        Incoming::Push(push) => panic!("{push:?}"),
    }
}

fn summary(description: &str, extension: &'static [u8]) -> TransactionSummary {
    TransactionSummary {
        tid: Tid(1 << 32),
        size: 5,
        user: Bytes::from("user"),
        description: Bytes::from(description.to_owned()),
        extension: Bytes::from(extension),
    }
}

/// As in ZODB, an extension's entries win in the undo log, and lose in a history.
pub(crate) fn extensions_with_the_names_of_others<E: Encoding>() {
    // {'description': 'x', 'size': None, 'id': 'A', 'tid': 'B', 'k': 'v'}
    let extension = b"\x85\xabdescription\xa1x\xa4size\xc0\xa2id\xa1A\xa3tid\xa1B\xa1k\xa1v";
    let given = summary("what", extension);
    let history = sent::<E>(Expect::History, &Reply::History(vec![given.clone()]));
    let kept = b"\x82\xa2id\xa1A\xa1k\xa1v";
    assert_eq!(history, Reply::History(vec![summary("what", kept)]));
    let log = sent::<E>(Expect::UndoLog, &Reply::UndoLog(vec![given]));
    let kept = summary("x", b"\x82\xa3tid\xa1B\xa1k\xa1v");
    assert_eq!(log, Reply::UndoLog(vec![TransactionSummary { size: 0, ..kept }]));
}

/// What one client has committed must not cost another one its connection.
pub(crate) fn extensions_that_cannot_be_read<E: Encoding>() {
    let head = |extension: &'static [u8]| TransactionHead {
        tid: Tid(1),
        status: b' ',
        user: Bytes::new(),
        description: Bytes::new(),
        extension: Bytes::from(extension),
    };
    let cases: [&[u8]; 4] = [
        // {'a': an extension type, 'k': 'v'}
        b"\x82\xa1a\xd4\x01\x00\xa1k\xa1v",
        // {{}: 1, 'k': 'v'}
        b"\x82\x80\x01\xa1k\xa1v",
        // {'a': [{[]: 1}], 'k': 'v'}
        b"\x82\xa1a\x91\x81\x90\x01\xa1k\xa1v",
        // {'k': 'v'}
        b"\x81\xa1k\xa1v",
    ];
    for extension in cases {
        let sent = sent::<E>(Expect::Transaction, &Reply::Transaction(Some(head(extension))));
        assert_eq!(sent, Reply::Transaction(Some(head(b"\x81\xa1k\xa1v"))));
    }
    for broken in [&b"\x81\xa1k"[..], b"\xc1", b"\x01"] {
        let sent = sent::<E>(Expect::Transaction, &Reply::Transaction(Some(head(broken))));
        assert_eq!(sent, Reply::Transaction(Some(head(b""))));
    }
}

/// ZEO's own servers have an exception where ours has text.
pub(crate) fn undo_errors_within_undo_errors<E: Encoding>() {
    let mut out = Vec::new();
    E::write(&mut out, |writer| {
        writer.tuple(4, |writer| {
            writer.int(5);
            writer.int(2);
            writer.str(".reply");
            writer.tuple(2, |writer| {
                writer.str("ZODB.POSException.MultipleUndoErrors");
                writer.map(1, |writer| {
                    writer.str("_errs");
                    writer.tuple(1, |writer| {
                        writer.tuple(2, |writer| {
                            writer.bytes(&Oid(2).to_bytes());
                            writer.tuple(2, |writer| {
                                writer.str("ZODB.POSException.UndoError");
                                writer.map(1, |writer| {
                                    writer.str("_reason");
                                    writer.str("why");
                                });
                            });
                        });
                    });
                });
            });
        });
    });
    let mut codec = Zeo::<E>::new(Limits::default());
    let incoming = codec.decode_incoming(&out.into(), &mut |_| Some(Expect::Vote));
    let reply = Reply::Failed(Failure::Undo(vec![(Oid(2), "why".to_owned())]));
    assert_eq!(incoming, Ok(Incoming::Reply { number: 5, reply }));
}

pub(crate) fn chunks_are_slices_of_the_frame<E: Encoding>() {
    let frame = message::<E>(0, "storeBlobChunk", 1, |writer| writer.bytes(b"a blob's bytes"));
    let Request::BlobChunk { oid: None, data } = request::<E>(&frame) else { panic!("no chunk") };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));

    let mut codec = Zeo::<E>::new(Limits::default());
    let mut out = Vec::new();
    let chunk = Push::BlobChunk { oid: Oid(1), serial: Tid(2), data };
    codec.encode_push(&chunk, &mut out);
    let frame = Bytes::from(out);
    let Ok(Incoming::Push(Push::BlobChunk { data, .. })) =
        codec.decode_incoming(&frame, &mut |_| None)
    else {
        panic!("no chunk")
    };
    assert!(frame.as_ptr_range().contains(&data.as_ptr()));
}
