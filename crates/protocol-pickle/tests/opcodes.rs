//! What Python's picklers write besides ZEO's own choice of opcodes, and what is refused.

use bytes::Bytes;
use protocol::zeo::Writer;
use protocol::{Codec, Limits, Malformed, Oid, Request, Tid, TransactionId, UndoLog, Wanted};
use protocol_pickle::{Pickle, PickleWriter};

fn decode(frame: &[u8]) -> Result<Request, Malformed> {
    let call = Pickle::new(Limits::default()).decode_request(&Bytes::copy_from_slice(frame))?;
    Ok(call.request)
}

fn refusal(frame: &[u8]) -> String {
    decode(frame).map_or_else(|refused| refused.0, |request| format!("decoded: {request:?}"))
}

/// `pickle.dumps(((oid, tid), False, 'loadBefore', args), protocol)`: BINPUT, PROTO without
/// `fast`. The memo is written, never read.
#[test]
fn the_memo_may_be_written() {
    let put = b"\x80\x03(C\x08\0\0\0\0\0\0\0\x01q\0C\x08\x7f\xff\xff\xff\xff\xff\xff\xffq\x01\x86q\x02\x89\
        X\x0a\0\0\0loadBeforeq\x03C\x08\0\0\0\0\0\0\0\x01r\x04\0\0\0\
        C\x08\x7f\xff\xff\xff\xff\xff\xff\xffq\x05\x86q\x06tq\x07.";
    assert_eq!(decode(put), Ok(Request::LoadBefore { oid: Oid(1), before: Tid::MAX }));
    let got = b"\x80\x03(K\x01\x89X\x04\0\0\0pingq\0h\0t.";
    assert_eq!(refusal(got), "pickle opcode 0x68 is refused");
}

/// `pickle.dumps((0, True, 'storea', (oid, tid, b'xxx', 140000000000000)), 4)`, with two ids that
/// are not the same object: FRAME, MEMOIZE, SHORT_BINUNICODE.
#[test]
fn protocol_4_is_understood() {
    let frame = b"\x80\x04\x95\x36\0\0\0\0\0\0\0(K\0\x88\x8c\x06storea\x94(C\x08\0\0\0\0\0\0\0\x01\x94\
        C\x08\0\0\0\0\0\0\0\x02\x94\x8e\x03\0\0\0\0\0\0\0xxx\x94\x8b\x06\0\0\0\0\xc0DJT\x7ft\x94t\x94.";
    let store = Request::Store {
        transaction: TransactionId(140_000_000_000_000),
        oid: Oid(1),
        serial: Tid(2),
        data: Bytes::from("xxx"),
    };
    assert_eq!(decode(frame), Ok(store));
    assert_eq!(refusal(b"\x80\x06N."), "pickle protocol 6");
}

#[test]
fn long_integers_name_transactions() {
    let cases: [(&[u8], i128); 4] = [
        (b"\x8a\x05\x00\x00\x00\x80\x00", 1 << 31),
        (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00", 1 << 63),
        (b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff", -(1 << 63) - 1),
        (b"\x8a\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", i128::MAX),
    ];
    for (long, value) in cases {
        let frame = [b"\x80\x03(K\x01\x89X\x04\0\0\0vote", long, b"\x85t."].concat();
        let transaction = TransactionId(value);
        assert_eq!(decode(&frame), Ok(Request::Vote { transaction }));
        let mut out = Vec::new();
        let mut codec = Pickle::new(Limits::default());
        codec.encode_request(1, &Request::Vote { transaction }, &mut out);
        assert_eq!(out, frame);
    }
}

/// `undoInfo(0, 20, {'user_name': ZopeUndo.Prefix.Prefix('/a')})`: the one object let through.
#[test]
fn the_prefix_of_zope_undo_is_understood() {
    let start = b"\x80\x03(K\x01\x89X\x08\0\0\0undoInfoK\0K\x14}X\x09\0\0\0user_name";
    let prefix = b"cZopeUndo.Prefix\nPrefix\n)\x81}(X\x06\0\0\0lengthK\x02X\x04\0\0\0path](\
        X\0\0\0\0X\x01\0\0\0aeub";
    let whole = [&start[..], prefix, b"s\x87t."].concat();
    let filter = vec![("user_name".to_owned(), Wanted::Prefix("/a".to_owned()))];
    let undo_log = Request::UndoLog(UndoLog { first: 0, last: 20, filter });
    assert_eq!(decode(&whole), Ok(undo_log.clone()));
    let mut out = Vec::new();
    Pickle::new(Limits::default()).encode_request(1, &undo_log, &mut out);
    assert_eq!(out, whole);

    // Without a path it is no filter, and the client is told.
    for stateless in [&b"cZopeUndo.Prefix\nPrefix\n)\x81"[..], b"cZopeUndo.Prefix\nPrefix\n)\x81}b"]
    {
        let frame = [&start[..], stateless, b"s\x87t."].concat();
        assert!(matches!(decode(&frame), Ok(Request::Invalid { .. })));
    }

    let other = [&start[..], b"cZopeUndo.Prefix\nOther\n)\x81}b", b"s\x87t."].concat();
    assert_eq!(refusal(&other), "a pickle that asks for an import");
    let arguments = [&start[..], b"cZopeUndo.Prefix\nPrefix\nN\x85\x81}b", b"s\x87t."].concat();
    assert_eq!(refusal(&arguments), "an object with arguments");
    let state = [&start[..], b"cZopeUndo.Prefix\nPrefix\n)\x81Nb", b"s\x87t."].concat();
    assert_eq!(refusal(&state), "an object's state is a dict");
    let nothing = [&start[..], b"}}b", b"s\x87t."].concat();
    assert_eq!(refusal(&nothing), "items without their container");
}

/// What `pickle.dumps(X(k=1), 3)` sends of a class derived from `dict` whose `__reduce__` returns
/// `dict, (tuple(self.items()),)`.
#[test]
fn a_dict_may_come_as_a_call_with_its_items() {
    let with = |extension: &[u8]| {
        let start = b"\x80\x03(K\x00\x88X\x09\0\0\0tpc_begin(K\x07C\0C\0";
        decode(&[&start[..], extension, b"NX\x01\0\0\0 tt."].concat())
    };
    let plain = with(b"}X\x01\0\0\0kK\x01s");
    assert!(matches!(plain, Ok(Request::Begin(_))));
    assert_eq!(with(b"cbuiltins\ndict\nq\0X\x01\0\0\0kK\x01\x86\x85\x85R"), plain);
    assert_eq!(with(b"cbuiltins\ndict\n](X\x01\0\0\0kK\x01\x86e\x85R"), plain, "a list of items");
    for wrong in [
        &b"cbuiltins\ndict\nK\x01R"[..],
        b"cbuiltins\ndict\n)R",
        b"cbuiltins\ndict\nK\x01\x85\x85R",
        b"cZopeUndo.Prefix\nPrefix\n)\x85R",
        b"}X\x01\0\0\0kK\x01s)\x85R",
    ] {
        let refused = with(wrong);
        let is_refused = matches!(&refused, Err(malformed) if malformed.0.contains("a call of"));
        assert!(is_refused, "{wrong:?}: {refused:?}");
    }
    assert!(with(b"cbuiltins\neval\n)\x85R").is_err());
}

/// An object can be sent and not be kept: MessagePack, which transactions' extensions are stored
/// as, has none.
#[test]
fn an_extension_holds_plain_data() {
    let start = b"\x80\x03(K\x00\x88X\x09\0\0\0tpc_begin(K\x07C\0C\0}X\x01\0\0\0k";
    for value in [&b"cZopeUndo.Prefix\nPrefix\n)\x81"[..], b"\x8a\x09\0\0\0\0\0\0\0\0\x01"] {
        let frame = [&start[..], value, b"sNX\x01\0\0\0 tt."].concat();
        let refused = decode(&frame).map(|request| format!("{request:?}"));
        assert!(refused.is_ok_and(|text| text.contains("TransactionId(7)")
            && text.contains("only plain data and integers of 64 bits can be kept")));
    }
}

/// Messages made by `pickle.dumps((1, False, 'ping', X()), protocol)` with an `X.__reduce__` that
/// returns `os.system, ('true',)`, and every opcode that is not plain data, or one of the objects above.
#[test]
fn nothing_is_imported_or_called() {
    let reduce = b"\x80\x02(K\x01\x89X\x04\0\0\0pingq\0cposix\nsystem\nq\x01X\x04\0\0\0trueq\x02\
        \x85q\x03Rq\x04tq\x05.";
    assert_eq!(refusal(reduce), "a pickle that asks for an import");
    let stacked = b"\x80\x04(K\x01\x89\x8c\x04ping\x94\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\
        \x8c\x04true\x94\x85\x94R\x94t\x94.";
    assert_eq!(refusal(stacked), "pickle opcode 0x93 is refused");

    let plain = b"(.\x95\x80N\x88\x89JKM\x8a\x8bGBC\x8eX\x8c\x8d)t\x85\x86\x87]ae}suqr\x94c\x81bR";
    for opcode in (0..=255u8).filter(|opcode| !plain.contains(opcode)) {
        let frame = [&b"\x80\x03)}"[..], &[opcode], b"aaaaaaaa\n."].concat();
        let expected = format!("pickle opcode {opcode:#04x} is refused");
        assert_eq!(refusal(&frame), expected);
    }
}

#[test]
fn a_stack_is_not_left_or_underrun() {
    let cases: [(&[u8], &str); 14] = [
        (b"", "it ends within a value"),
        (b"\x80", "it ends within a value"),
        (b"\x80\x03", "it ends within a value"),
        (b"N", "it ends within a value"),
        (b".", "a pickle that uses values it does not have"),
        (b"NN.", "a pickle that leaves values behind"),
        (b"(N.", "a pickle that leaves values behind"),
        (b"N.N", "1 bytes after the pickle"),
        (b"t.", "a mark is missing"),
        (b"N(\x85.", "a pickle that uses values it does not have"),
        (b"](Na.", "items without their container"),
        (b"N(Ne.", "items without their container"),
        (b"}(Nu.", "a key without a value"),
        (b"C\xffabc.", "it ends within a value"),
    ];
    for (frame, why) in cases {
        assert_eq!(refusal(frame), why, "{}", frame.escape_ascii());
    }
    assert_eq!(refusal(&[b'('; 100]), "more than 32 open marks");
    assert_eq!(refusal(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), "it ends within a value");
    assert_eq!(refusal(b"X\x02\0\0\0\xc3\x28."), "text that is not UTF-8");
}

/// What zodbpickle 4.5 writes at protocol 3 with `fast = 1`.
#[test]
fn integers_take_the_opcodes_that_python_chooses() {
    let cases: [(i128, &[u8]); 10] = [
        (0, b"K\0"),
        (255, b"K\xff"),
        (256, b"M\0\x01"),
        (65_535, b"M\xff\xff"),
        (65_536, b"J\0\0\x01\0"),
        (-1, b"J\xff\xff\xff\xff"),
        (-(1 << 31) - 1, b"\x8a\x05\xff\xff\xff\x7f\xff"),
        (1 << 39, b"\x8a\x06\0\0\0\0\x80\0"),
        (-(1 << 39), b"\x8a\x05\0\0\0\0\x80"),
        (i128::MIN, b"\x8a\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80"),
    ];
    for (value, expected) in cases {
        let mut out = Vec::new();
        PickleWriter::new(&mut out).int(value);
        assert_eq!(out, expected, "{value}");
    }
}

#[test]
fn lists_are_filled_in_batches_of_a_thousand() {
    let items = |count| vec![b'N'; count];
    let cases: [(usize, Vec<u8>); 5] = [
        (0, b"]".to_vec()),
        (1, b"]Na".to_vec()),
        (2, b"](NNe".to_vec()),
        (1000, [b"](", &items(1000)[..], b"e"].concat()),
        (2001, [b"](", &items(1000)[..], b"e(", &items(1000)[..], b"e(Ne"].concat()),
    ];
    for (count, expected) in cases {
        let mut out = Vec::new();
        PickleWriter::new(&mut out).list(0..count, |writer, _| writer.nil());
        assert_eq!(out, expected, "{count}");
    }
}
