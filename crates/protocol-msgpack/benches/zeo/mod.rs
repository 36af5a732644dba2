//! The hot messages in either encoding; `protocol-pickle` includes this file as well.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use protocol::{Codec, Limits, Loaded, Oid, Request, Tid, TransactionId};

/// Adds all benchmarks of codec `C`.
pub(crate) fn all<C: Codec>(criterion: &mut Criterion) {
    decode_load_before::<C>(criterion);
    for len in [1 << 10, 70 << 10] {
        encode_loaded::<C>(criterion, len);
        decode_store::<C>(criterion, len);
    }
}

fn decode_load_before<C: Codec>(criterion: &mut Criterion) {
    let mut codec = C::new(Limits::default());
    let frame = message(&mut codec, &Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    criterion.bench_function(&format!("{}/decode loadBefore", C::NAME), |bencher| {
        bencher.iter(|| codec.decode_request(black_box(&frame)));
    });
}

fn encode_loaded<C: Codec>(criterion: &mut Criterion, len: usize) {
    let mut codec = C::new(Limits::default());
    let ping = message(&mut codec, &Request::Ping);
    let Some(id) = codec.decode_request(&ping).ok().and_then(|call| call.id) else { return };
    let data = vec![b'x'; len];
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group(C::NAME);
    group.throughput(throughput(len));
    group.bench_function(format!("encode loaded of {len} B"), |bencher| {
        bencher.iter(|| {
            out.clear();
            let loaded = Loaded { data: black_box(&data[..]), tid: Tid(1), end: None };
            codec.encode_loaded(&id, loaded, &mut out);
            out.len()
        });
    });
}

fn decode_store<C: Codec>(criterion: &mut Criterion, len: usize) {
    let mut codec = C::new(Limits::default());
    let store = Request::Store {
        transaction: TransactionId(0x7f7f_5b2d_1c00),
        oid: Oid(1),
        serial: Tid(1),
        data: vec![b'x'; len].into(),
    };
    let frame = message(&mut codec, &store);
    let mut group = criterion.benchmark_group(C::NAME);
    group.throughput(throughput(len));
    group.bench_function(format!("decode storea of {len} B"), |bencher| {
        bencher.iter(|| codec.decode_request(black_box(&frame)));
    });
}

fn message<C: Codec>(codec: &mut C, request: &Request) -> Bytes {
    let mut out = Vec::new();
    codec.encode_request(1, request, &mut out);
    out.into()
}

fn throughput(len: usize) -> Throughput {
    Throughput::Bytes(u64::try_from(len).unwrap_or(u64::MAX))
}
