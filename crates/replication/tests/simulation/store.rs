//! What a node keeps, and a small model of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{Oid, Tid, TransactionHead};
use replication::primary::Fed;
use replication::secondary::NotApplied;
use replication::{Item, Position, Record, Standing};

/// A storage as replication sees it; the simulation runs over any.
pub(crate) trait Store {
    /// The last synced transaction.
    fn position(&self) -> Position;
    /// The digest of a synced transaction.
    fn digest_at(&self, tid: Tid) -> Option<u64>;
    /// What is saved of the node's standing.
    fn standing(&self) -> Standing;
    /// Saves it, durably.
    fn save(&mut self, standing: &Standing);
    /// Appends a transaction, which is not synced yet; returns its tid, which is `clock` or above.
    fn commit(&mut self, clock: Tid, content: u64) -> Tid;
    /// Syncs what was appended.
    fn sync(&mut self);
    /// What comes next for a reader.
    fn feed(&self, reader: &mut Reader) -> Fed;
    /// Bytes of a blob.
    fn blob(&self, oid: Oid, tid: Tid, offset: u64, bytes_max: usize) -> Bytes;
    /// Forgets what was taken.
    fn receive(&mut self);
    /// Takes a part of a transaction.
    fn take(&mut self, item: Item);
    /// Takes the blob of the last record.
    fn take_blob(&mut self, data: Vec<u8>);
    /// Appends all whole transactions that were taken, without syncing them.
    fn apply(&mut self) -> Result<(), NotApplied>;
    /// Stops, and comes back with what was synced.
    fn crash(&mut self);
    /// Sets aside all after `common`.
    fn cut_after(&mut self, common: Tid);
    /// All synced transactions.
    fn log(&self) -> &[Transaction];
}

/// A place in a log for [`Store::feed`]: after a transaction, and so many of the parts of the next one.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) after: Tid,
    pub(crate) parts: usize,
}

/// A transaction of one record.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) tid: Tid,
    pub(crate) before: u64,
    pub(crate) digest: u64,
    record: Record,
}

/// A log in memory that forgets what was not synced.
#[derive(Debug)]
pub(crate) struct Model {
    log: Vec<Transaction>,
    synced: usize,
    standing: String,
    blobs: BTreeMap<(Oid, Tid), Bytes>,
    taken: Vec<(TransactionHead, Record, u64)>,
    begun: Option<(TransactionHead, Option<Record>)>,
}

impl Model {
    pub(crate) fn new(standing: &Standing) -> Self {
        Self {
            log: Vec::new(),
            synced: 0,
            standing: standing.to_text(),
            blobs: BTreeMap::new(),
            taken: Vec::new(),
            begun: None,
        }
    }

    fn append(&mut self, tid: Tid, record: Record) {
        let before = self.log.last().map_or(0, |last| last.digest);
        let digest = digest(before, tid, &record);
        self.log.push(Transaction { tid, before, digest, record });
    }
}

impl Store for Model {
    fn position(&self) -> Position {
        self.log()
            .last()
            .map_or_else(Position::default, |last| Position { tid: last.tid, digest: last.digest })
    }

    fn digest_at(&self, tid: Tid) -> Option<u64> {
        let at = self.log().binary_search_by_key(&tid, |transaction| transaction.tid).ok()?;
        Some(self.log[at].digest)
    }

    fn standing(&self) -> Standing {
        Standing::parse(&self.standing).unwrap()
    }

    fn save(&mut self, standing: &Standing) {
        self.standing = standing.to_text();
    }

    fn commit(&mut self, clock: Tid, content: u64) -> Tid {
        let tid = self.log.last().map_or(Tid(1), |last| last.tid.next()).max(clock);
        let has_blob = content.is_multiple_of(4);
        let data = Some(Bytes::copy_from_slice(&content.to_le_bytes()));
        let record = Record { oid: Oid(content % 7), data, origin: None, has_blob };
        if has_blob {
            self.blobs.insert((record.oid, tid), blob_of(content));
        }
        self.append(tid, record);
        tid
    }

    fn sync(&mut self) {
        self.synced = self.log.len();
    }

    fn feed(&self, reader: &mut Reader) -> Fed {
        let at = self.log().partition_point(|transaction| transaction.tid <= reader.after);
        let Some(transaction) = self.log().get(at) else { return Fed::AtEnd };
        reader.parts += 1;
        Fed::Item(match reader.parts {
            1 => {
                let (user, description, extension) = (Bytes::new(), Bytes::new(), Bytes::new());
                let tid = transaction.tid;
                Item::Begin(TransactionHead { tid, status: b' ', user, description, extension })
            }
            2 => Item::Record(transaction.record.clone()),
            _ => {
                *reader = Reader { after: transaction.tid, parts: 0 };
                Item::End { digest: transaction.digest }
            }
        })
    }

    fn blob(&self, oid: Oid, tid: Tid, offset: u64, bytes_max: usize) -> Bytes {
        let blob = &self.blobs[&(oid, tid)];
        let offset = offset as usize;
        blob.slice(offset..blob.len().min(offset + bytes_max))
    }

    fn receive(&mut self) {
        self.taken.clear();
        self.begun = None;
    }

    fn take(&mut self, item: Item) {
        match (item, &mut self.begun) {
            (Item::Begin(head), begun) => *begun = Some((head, None)),
            (Item::Record(record), Some((_, begun))) => *begun = Some(record),
            (Item::End { digest }, begun) => {
                let Some((head, Some(record))) = begun.take() else { panic!("no transaction") };
                self.taken.push((head, record, digest));
            }
            (item, None) => panic!("{item:?} outside of a transaction"),
        }
    }

    fn take_blob(&mut self, data: Vec<u8>) {
        let Some((head, Some(record))) = &self.begun else { panic!("a blob without a record") };
        assert_eq!(data, blob_of(content(record)), "the blob of {head:?} came as another one");
        self.blobs.insert((record.oid, head.tid), data.into());
    }

    fn apply(&mut self) -> Result<(), NotApplied> {
        let before = self.log.len();
        for (head, record, wanted) in std::mem::take(&mut self.taken) {
            assert!(!record.has_blob || self.blobs.contains_key(&(record.oid, head.tid)));
            self.append(head.tid, record);
            let found = self.log.last().unwrap().digest;
            if found != wanted {
                self.log.truncate(before);
                return Err(NotApplied::Diverged(format!(
                    "{found} and not {wanted} at {}",
                    head.tid
                )));
            }
        }
        Ok(())
    }

    fn crash(&mut self) {
        self.log.truncate(self.synced);
        self.receive();
    }

    fn cut_after(&mut self, common: Tid) {
        let keep = self.log.partition_point(|transaction| transaction.tid <= common);
        self.log.truncate(keep);
        self.synced = keep;
    }

    fn log(&self) -> &[Transaction] {
        &self.log[..self.synced]
    }
}

/// Over all before, and this one; never 0.
fn digest(before: u64, tid: Tid, record: &Record) -> u64 {
    [tid.0, content(record)].iter().fold(before, |hash, word| {
        (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    })
}

fn content(record: &Record) -> u64 {
    u64::from_le_bytes(record.data.as_ref().unwrap()[..].try_into().unwrap())
}

/// Some are empty.
fn blob_of(content: u64) -> Bytes {
    Bytes::from(content.to_le_bytes().repeat((content / 4 % 3) as usize))
}
