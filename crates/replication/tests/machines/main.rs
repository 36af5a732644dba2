//! Both ends of a link, step by step.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod follower;
mod gate;
mod link;

use std::time::Duration;

use bytes::Bytes;
use protocol::{Oid, Tid, TransactionHead};
use replication::primary::Now;
use replication::{Epoch, EpochStart, History, Item, Position, Record};

const INTERVAL: Duration = Duration::from_secs(5);

fn at(tid: u64) -> Position {
    Position { tid: Tid(tid), digest: tid * 7 }
}

fn epoch(number: u64) -> Epoch {
    Epoch { number, unique: [number as u8; 16] }
}

/// The first epoch, and one more for each base.
fn history(bases: &[u64]) -> History {
    let bases = [&[0], bases].concat();
    let start = |(number, base): (usize, &u64)| EpochStart {
        epoch: epoch(number as u64 + 1),
        base: at(*base),
    };
    History::new(bases.iter().enumerate().map(start).collect()).unwrap()
}

fn begin(tid: u64) -> Item {
    let (user, description, extension) = (Bytes::new(), Bytes::new(), Bytes::new());
    Item::Begin(TransactionHead { tid: Tid(tid), status: b' ', user, description, extension })
}

fn record(bytes: usize, has_blob: bool) -> Item {
    let data = Some(Bytes::from(vec![b'x'; bytes]));
    Item::Record(Record { oid: Oid(1), data, origin: None, has_blob })
}

fn end(tid: u64) -> Item {
    Item::End { digest: at(tid).digest }
}

fn seconds(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, unix: monotonic + Duration::from_secs(1_000_000) }
}
