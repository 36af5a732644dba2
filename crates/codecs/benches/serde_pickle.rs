//! Our own pickle reader and writer beside serde-pickle's, on the same bytes.
//!
//! Both read a message into a tree of values and write that tree; ours points into the message where
//! theirs copies.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use protocol::Limits;
use protocol::zeo::{Encoding, Tree, Value};
use protocol_pickle::{Pickle, Z5};
use serde_pickle::{DeOptions, SerOptions};
use testkit::operations::messages::{self, Message};
use testkit::operations::{SIZES_BYTES, encodings};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion, messages::load_before(), "");
    for bytes in SIZES_BYTES {
        compare(&mut criterion, messages::loaded(bytes), &format!(" of {bytes} B"));
        compare(&mut criterion, messages::store(bytes), &format!(" of {bytes} B"));
    }
    criterion.final_summary();
}

fn compare(criterion: &mut Criterion, message: Message, size: &str) {
    let frame: Bytes = encodings::frame::<Pickle>(&message).expect("a pickle can carry it");
    let name = format!("{}{size}", message.name());

    let (mut ours, mut tree, limits) = (Z5::default(), Tree::new(), Limits::default());
    criterion.bench_function(&format!("read {name}/ours"), |b| {
        b.iter(|| ours.parse(black_box(&frame), &limits, &mut tree).expect("we wrote it"));
    });
    criterion.bench_function(&format!("read {name}/serde-pickle"), |b| {
        b.iter(|| {
            serde_pickle::value_from_slice(black_box(&frame), DeOptions::new()).expect("plain data")
        });
    });

    let root = ours.parse(&frame, &limits, &mut tree).expect("we wrote it");
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>| {
        out.clear();
        let value = black_box(Value::new(&tree, &frame, root));
        Z5::write(out, |writer| value.write(writer).expect("plain data"));
    };
    write(&mut out);
    assert_eq!(out, frame, "what we read we write again");
    criterion.bench_function(&format!("write {name}/ours"), |b| b.iter(|| write(&mut out)));
    let theirs = serde_pickle::value_from_slice(&frame, DeOptions::new()).expect("plain data");
    criterion.bench_function(&format!("write {name}/serde-pickle"), |b| {
        b.iter(|| {
            out.clear();
            let value = black_box(&theirs);
            serde_pickle::value_to_writer(&mut out, value, SerOptions::new()).expect("plain data");
        });
    });
}
