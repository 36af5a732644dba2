//! The reader and the writer against rmpv, which shares no code with them but rmp's markers.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::Limits;
use protocol::zeo::msgpack::MsgPackWriter;
use protocol::zeo::{Encoding, Tree, Value, Writer};
use protocol_msgpack::M5;

/// Plain data as ZEO's messages have it.
fn plain() -> impl Strategy<Value = rmpv::Value> {
    let leaf = prop_oneof![
        Just(rmpv::Value::Nil),
        any::<bool>().prop_map(rmpv::Value::from),
        any::<i64>().prop_map(rmpv::Value::from),
        any::<u64>().prop_map(rmpv::Value::from),
        any::<i16>().prop_map(rmpv::Value::from),
        any::<u8>().prop_map(rmpv::Value::from),
        any::<f64>().prop_map(rmpv::Value::from),
        ".{0,40}".prop_map(rmpv::Value::from),
        vec(any::<u8>(), 0..300).prop_map(rmpv::Value::from),
    ];
    leaf.prop_recursive(4, 100, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(rmpv::Value::Array),
            vec((inner.clone(), inner), 0..20).prop_map(rmpv::Value::Map),
        ]
    })
}

/// Pushes `value` into our writer.
fn write(writer: &mut MsgPackWriter<'_>, value: &rmpv::Value) {
    match value {
        rmpv::Value::Nil => writer.nil(),
        rmpv::Value::Boolean(value) => writer.bool(*value),
        rmpv::Value::Integer(value) => {
            let wide = value
                .as_i64()
                .map_or_else(|| value.as_u64().map(i128::from), |value| Some(value.into()));
            writer.int(wide.unwrap_or_default());
        }
        rmpv::Value::F32(value) => writer.float(f64::from(*value)),
        rmpv::Value::F64(value) => writer.float(*value),
        rmpv::Value::String(value) => writer.str(value.as_str().unwrap_or_default()),
        rmpv::Value::Binary(value) => writer.bytes(value),
        rmpv::Value::Array(values) => writer.list(values.iter(), write),
        rmpv::Value::Map(entries) => writer.map(entries.len(), |writer| {
            for (key, value) in entries {
                write(writer, key);
                write(writer, value);
            }
        }),
        rmpv::Value::Ext(..) => {}
    }
}

/// What our reader makes of `frame`, written again.
fn read_and_write(frame: &Bytes) -> Option<Vec<u8>> {
    let mut tree = Tree::new();
    let root = M5.parse(frame, &Limits::default(), &mut tree).ok()?;
    let mut out = Vec::new();
    let value = Value::new(&tree, frame, root);
    value.write(&mut MsgPackWriter::new(&mut out)).ok()?;
    Some(out)
}

proptest! {
    #[test]
    fn both_write_and_read_the_same(value in plain()) {
        let mut theirs = Vec::new();
        prop_assert!(rmpv::encode::write_value(&mut theirs, &value).is_ok());
        let mut ours = Vec::new();
        write(&mut MsgPackWriter::new(&mut ours), &value);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(read_and_write(&ours.into()), Some(theirs));
    }

    /// All bytes but 0xc1, which has no meaning and is nil to rmpv.
    #[test]
    fn what_one_accepts_the_other_accepts(
        frame in vec(any::<u8>().prop_map(|byte| if byte == 0xc1 { 0xc0 } else { byte }), 0..20)
    ) {
        let mut rest = &frame[..];
        let theirs = rmpv::decode::read_value(&mut rest).ok().filter(|_| rest.is_empty());
        let mut tree = Tree::new();
        let ours = M5.parse(&frame, &Limits::default(), &mut tree);
        let strict = theirs.as_ref().is_some_and(is_text_sound);
        prop_assert_eq!(ours.is_ok(), strict, "{:?} {:?}", ours, theirs);
    }
}

/// rmpv keeps text that is not UTF-8; we do not.
fn is_text_sound(value: &rmpv::Value) -> bool {
    match value {
        rmpv::Value::String(text) => text.as_str().is_some(),
        rmpv::Value::Array(values) => values.iter().all(is_text_sound),
        rmpv::Value::Map(entries) => {
            entries.iter().all(|(key, value)| is_text_sound(key) && is_text_sound(value))
        }
        _ => true,
    }
}
