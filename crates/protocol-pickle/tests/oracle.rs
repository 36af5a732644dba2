//! The reader and the writer against serde-pickle, which shares no code with them.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use protocol::Limits;
use protocol::zeo::{Encoding, Tree, Value, Writer};
use protocol_pickle::{PickleWriter, Z5};
use serde_pickle::{DeOptions, HashableValue, SerOptions, Value as Theirs};

/// Plain data as ZEO's messages have it.
fn plain() -> impl Strategy<Value = Theirs> {
    let leaf = prop_oneof![
        Just(Theirs::None),
        any::<bool>().prop_map(Theirs::Bool),
        any::<i64>().prop_map(Theirs::I64),
        any::<i32>().prop_map(|value| Theirs::I64(value.into())),
        any::<u16>().prop_map(|value| Theirs::I64(value.into())),
        any::<f64>().prop_filter("comparable", |value| !value.is_nan()).prop_map(Theirs::F64),
        ".{0,40}".prop_map(Theirs::String),
        vec(any::<u8>(), 0..300).prop_map(Theirs::Bytes),
    ];
    leaf.prop_recursive(4, 100, 20, |inner| {
        let key = prop_oneof![
            ".{0,9}".prop_map(HashableValue::String),
            vec(any::<u8>(), 0..9).prop_map(HashableValue::Bytes)
        ];
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Theirs::List),
            vec(inner.clone(), 0..5).prop_map(Theirs::Tuple),
            btree_map(key, inner, 0..20).prop_map(Theirs::Dict),
        ]
    })
}

/// Pushes `value` into our writer.
fn write(writer: &mut PickleWriter<'_>, value: &Theirs) {
    match value {
        Theirs::Bool(value) => writer.bool(*value),
        Theirs::I64(value) => writer.int((*value).into()),
        Theirs::F64(value) => writer.float(*value),
        Theirs::String(value) => writer.str(value),
        Theirs::Bytes(value) => writer.bytes(value),
        Theirs::List(values) => writer.list(values.iter(), write),
        Theirs::Tuple(values) => writer.tuple(values.len(), |writer| {
            values.iter().for_each(|value| write(writer, value));
        }),
        Theirs::Dict(entries) => write_map(writer, entries),
        // The strategy makes no others.
        _ => writer.nil(),
    }
}

fn write_map(writer: &mut PickleWriter<'_>, entries: &BTreeMap<HashableValue, Theirs>) {
    writer.map(entries.len(), |writer| {
        for (key, value) in entries {
            write(writer, &key.clone().into_value());
            write(writer, value);
        }
    });
}

/// What our reader makes of `frame`, written again.
fn read_and_write(frame: &Bytes) -> Option<Vec<u8>> {
    let mut tree = Tree::new();
    let root = Z5::default().parse(frame, &Limits::default(), &mut tree).ok()?;
    let value = Value::new(&tree, frame, root);
    let mut out = Vec::new();
    let mut written = Ok(());
    Z5::write(&mut out, |writer| written = value.write(writer));
    written.ok().map(|()| out)
}

fn understood(pickle: &[u8]) -> Option<Theirs> {
    serde_pickle::value_from_slice(pickle, DeOptions::new()).ok()
}

proptest! {
    #[test]
    fn it_reads_what_we_write(value in plain()) {
        let mut out = Vec::new();
        Z5::write(&mut out, |writer| write(writer, &value));
        prop_assert_eq!(understood(&out), Some(value));
        // Our own reader loses nothing of it either.
        prop_assert_eq!(read_and_write(&out.clone().into()), Some(out));
    }

    #[test]
    fn we_read_what_it_writes(value in plain()) {
        let theirs = serde_pickle::value_to_vec(&value, SerOptions::new());
        let ours = theirs.ok().and_then(|pickle| read_and_write(&pickle.into()));
        prop_assert_eq!(ours.as_deref().and_then(understood), Some(value));
    }

    /// Opcodes in random order, short arguments included: whatever is a value to us is the same
    /// value to it.
    #[test]
    fn what_we_accept_it_accepts(
        program in vec(proptest::sample::select(OPCODES), 0..12)
    ) {
        let frame = [&b"\x80\x03"[..], &program.concat(), b"."].concat();
        if let Some(written) = read_and_write(&frame.clone().into()) {
            let theirs = understood(&frame);
            // It refuses keys that Python cannot hash, which we never compare.
            if theirs.is_some() {
                prop_assert_eq!(understood(&written), theirs);
            } else {
                prop_assert!(frame.contains(&b's') || frame.contains(&b'u'), "{:?}", frame);
            }
        }
    }
}

const OPCODES: &[&[u8]] = &[
    b"(",
    b"(",
    b"(",
    b"t",
    b"t",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"]",
    b"]",
    b"a",
    b"e",
    b"}",
    b"}",
    b"s",
    b"u",
    b"N",
    b"N",
    b"\x88",
    b"K\x07",
    b"M\x01\x02",
    b"J\xff\xff\xff\xff",
    b"\x8a\x01\x80",
    b"C\x02ab",
    b"B\x01\0\0\0z",
    b"X\x01\0\0\0x",
];
