//! What locks, the index and a transaction cost.
//!
//! `cargo bench -p storage -- index` runs those whose names match. An index of 10 million objects
//! takes 260 MiB; each is gone before the next.

use std::sync::Arc;

use criterion::Criterion;
use testkit::operations::{SIZES_BYTES, storages};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    locks(&mut criterion);
    transactions(&mut criterion);
    index(&mut criterion);
    criterion.final_summary();
}

fn locks(criterion: &mut Criterion) {
    for objects in [1, 100] {
        let mut operation = storages::lock_and_release(objects);
        let name = format!("locks/{objects} objects, nobody waits");
        criterion.bench_function(&name, |b| b.iter(&mut operation));
    }
    let mut operation = storages::lock_queue(100);
    criterion.bench_function("locks/1 object, 100 wait in turn", |b| b.iter(&mut operation));
}

fn transactions(criterion: &mut Criterion) {
    for bytes in SIZES_BYTES {
        let mut operation = storages::vote_and_abort(bytes);
        let name = format!("transaction/store {bytes} B, vote, abort");
        criterion.bench_function(&name, |b| b.iter(&mut operation));
    }
    let mut operation = storages::commit(1 << 10);
    criterion.bench_function("transaction/commit 1024 B to a log, without a sync", |b| {
        b.iter(&mut operation);
    });
}

fn index(criterion: &mut Criterion) {
    for objects in [10_000, 100_000, 1_000_000, 10_000_000] {
        let index = storages::filled_index(objects);
        let mut hit = storages::index_hit(Arc::clone(&index));
        criterion.bench_function(&format!("index/{objects} objects, hit"), |b| b.iter(&mut hit));
        let mut miss = storages::index_miss(index);
        criterion.bench_function(&format!("index/{objects} objects, miss"), |b| b.iter(&mut miss));
    }
}
