//! In which order the parts of transactions come.

use std::mem;

use protocol::{Malformed, Oid, Tid};

use crate::item::Item;

/// What may come next. What was received is checked against it before it is handed on.
#[derive(Debug)]
pub(super) struct Order {
    wants_blobs: bool,
    /// The transaction that has begun last, or that everything comes after.
    last: Tid,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    Inside,
    /// A blob has to come.
    AwaitsBlob(Oid),
    /// It has come so far.
    InsideBlob {
        bytes: u64,
    },
}

impl Order {
    pub(super) fn new(last: Tid, wants_blobs: bool) -> Self {
        Self { wants_blobs, last, place: Place::Between }
    }

    /// Says whether there is a whole transaction more.
    pub(super) fn item(&mut self, item: &Item) -> Result<bool, Malformed> {
        let place = match (item, self.place) {
            (Item::Begin(head), Place::Between) if head.tid > self.last => {
                self.last = head.tid;
                Place::Inside
            }
            (Item::Record(record), Place::Inside) if record.has_blob && self.wants_blobs => {
                Place::AwaitsBlob(record.oid)
            }
            (Item::Record(_), Place::Inside) => Place::Inside,
            (Item::End { .. }, Place::Inside) => Place::Between,
            _ => return Err(self.wrong("an item")),
        };
        self.place = place;
        Ok(place == Place::Between)
    }

    pub(super) fn blob_start(&mut self, oid: Oid) -> Result<(), Malformed> {
        if self.place != Place::AwaitsBlob(oid) {
            return Err(self.wrong("a blob"));
        }
        self.place = Place::InsideBlob { bytes: 0 };
        Ok(())
    }

    pub(super) fn blob_gone(&mut self, oid: Oid) -> Result<(), Malformed> {
        if self.place != Place::AwaitsBlob(oid) {
            return Err(self.wrong("no blob"));
        }
        self.place = Place::Inside;
        Ok(())
    }

    pub(super) fn blob_part(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let Place::InsideBlob { bytes } = &mut self.place else {
            return Err(self.wrong("a part of a blob"));
        };
        *bytes = bytes.saturating_add(part.len() as u64);
        Ok(())
    }

    pub(super) fn blob_end(&mut self, bytes: u64) -> Result<(), Malformed> {
        if mem::replace(&mut self.place, Place::Inside) != (Place::InsideBlob { bytes }) {
            return Err(Malformed(format!(
                "a blob in {} that ends after {bytes} bytes",
                self.last
            )));
        }
        Ok(())
    }

    pub(super) fn epoch_starts(&self) -> Result<(), Malformed> {
        if self.place == Place::Between { Ok(()) } else { Err(self.wrong("an epoch")) }
    }

    fn wrong(&self, what: &str) -> Malformed {
        Malformed(format!("{what} out of order, in or after transaction {}", self.last))
    }
}
