//! Costs of the messages that a busy server sees most.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Codec, Limits, Loaded, MessageId, Oid, Push, Request, Tid, TransactionId};
use protocol_proto::Proto;

criterion_group!(benches, requests, answers);
criterion_main!(benches);

fn requests(criterion: &mut Criterion) {
    let mut codec = Proto::new(Limits::default());
    let load = Request::LoadBefore { oid: OID, before: TID };
    let frame = encoded(&mut codec, &load);
    criterion.bench_function("decode load before", |bencher| {
        bencher.iter(|| codec.decode_request(black_box(&frame)));
    });
    let mut group = criterion.benchmark_group("decode store");
    for bytes in SIZES {
        let data = Bytes::from(vec![7; bytes]);
        let transaction = TransactionId(1);
        let store = Request::Store { transaction, oid: OID, serial: TID, data };
        let frame = encoded(&mut codec, &store);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| codec.decode_request(black_box(&frame)));
        });
    }
}

fn answers(criterion: &mut Criterion) {
    let mut codec = Proto::new(Limits::default());
    let id = id(&mut codec);
    let mut group = criterion.benchmark_group("encode loaded");
    for bytes in SIZES {
        let data = vec![7; bytes];
        let mut out = Vec::new();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| {
                out.clear();
                let loaded = Loaded { data: black_box(&data[..]), tid: TID, end: None };
                codec.encode_loaded(&id, loaded, &mut out);
            });
        });
    }
    group.finish();
    let push = Push::Invalidate { tid: TID, oids: (0..10).map(Oid).collect() };
    let mut out = Vec::new();
    criterion.bench_function("encode invalidation of 10", |bencher| {
        bencher.iter(|| {
            out.clear();
            codec.encode_push(black_box(&push), &mut out);
        });
    });
}

fn encoded(codec: &mut Proto, request: &Request) -> Bytes {
    let mut out = Vec::new();
    codec.encode_request(12_345, request, &mut out);
    out.into()
}

fn id(codec: &mut Proto) -> MessageId {
    let frame = encoded(codec, &Request::Ping);
    codec.decode_request(&frame).ok().and_then(|call| call.id).expect("a ping is a call")
}

const OID: Oid = Oid(0x1234);
const TID: Tid = Tid(0x0411_2233_4455_6677);
const SIZES: [usize; 2] = [1 << 10, 70 << 10];
