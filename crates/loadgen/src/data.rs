//! The bytes of records: a function of oid, revision and length, so that every reply can be checked.

use protocol::Oid;

/// What every record begins with: oid and revision.
pub(crate) const HEAD_BYTES: usize = 16;

/// Appends the record of `oid` in its revision number `revision`; `bytes` are at least
/// [`HEAD_BYTES`].
pub(crate) fn append(oid: Oid, revision: u64, bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes.max(HEAD_BYTES);
    out.reserve(end - out.len());
    out.extend_from_slice(&oid.to_bytes());
    out.extend_from_slice(&revision.to_be_bytes());
    let mut word = seed(oid, revision, bytes.max(HEAD_BYTES));
    while out.len() < end {
        word = word.wrapping_add(STEP);
        let word = word.to_le_bytes();
        let missing = (end - out.len()).min(word.len());
        out.extend_from_slice(word.get(..missing).unwrap_or_default());
    }
}

/// The revision of a record of `oid`, if it is whole and as [`append`] makes it.
pub(crate) fn check(oid: Oid, record: &[u8]) -> Option<u64> {
    let (own_oid, rest) = record.split_first_chunk::<8>()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let revision = u64::from_be_bytes(*revision);
    if *own_oid != oid.to_bytes() {
        return None;
    }
    let mut word = seed(oid, revision, record.len());
    let (words, tail) = rest.as_chunks::<8>();
    // No early end: the loop is short, and this way it is a vector instruction or two.
    let mut differences = 0;
    for found in words {
        word = word.wrapping_add(STEP);
        differences |= u64::from_le_bytes(*found) ^ word;
    }
    let last = word.wrapping_add(STEP).to_le_bytes();
    (differences == 0 && last.starts_with(tail)).then_some(revision)
}

/// Of the length, too: what is missing at the end, or was added there, makes all other bytes wrong.
fn seed(oid: Oid, revision: u64, bytes: usize) -> u64 {
    (oid.0 ^ revision.rotate_left(32) ^ (bytes as u64).rotate_left(48))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Odd, so that words come again only after 2^64.
const STEP: u64 = 0xd134_2543_de82_ef95;

/// A blob is sent in pieces of so many bytes, as ZEO's client does; each is made, and can be checked,
/// like a record.
pub(crate) const PIECE_BYTES: usize = 59_000;

/// Whether a blob of that length can be made: no piece is shorter than [`HEAD_BYTES`].
pub(crate) fn is_blob_length(bytes: usize) -> bool {
    let rest = bytes % PIECE_BYTES;
    rest == 0 || rest >= HEAD_BYTES
}

/// The pieces of the blob of `oid` in its revision number `revision`.
pub(crate) fn blob_pieces(oid: Oid, revision: u64, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.div_ceil(PIECE_BYTES)).map(move |number| {
        let mut piece = Vec::new();
        let length = (bytes - number * PIECE_BYTES).min(PIECE_BYTES);
        append(oid, piece_revision(revision, number), length, &mut piece);
        piece
    })
}

/// Checks a blob as it comes.
#[derive(Debug)]
pub(crate) struct BlobCheck {
    oid: Oid,
    revision: u64,
    pieces: usize,
    bytes: usize,
    rest: Vec<u8>,
}

impl BlobCheck {
    pub(crate) fn new(oid: Oid, revision: u64) -> Self {
        Self { oid, revision, pieces: 0, bytes: 0, rest: Vec::new() }
    }

    /// The next bytes, in whatever pieces; `false`: they are wrong.
    pub(crate) fn take(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let wanted = (PIECE_BYTES - self.rest.len()).min(data.len());
            let (head, tail) = data.split_at(wanted);
            self.rest.extend_from_slice(head);
            data = tail;
            if self.rest.len() == PIECE_BYTES && !self.piece() {
                return false;
            }
        }
        true
    }

    /// Bytes of the whole blob; `None`: the last ones are wrong.
    pub(crate) fn finish(mut self) -> Option<usize> {
        (self.rest.is_empty() || self.piece()).then_some(self.bytes)
    }

    fn piece(&mut self) -> bool {
        let wanted = piece_revision(self.revision, self.pieces);
        let right = check(self.oid, &self.rest) == Some(wanted);
        self.pieces += 1;
        self.bytes += self.rest.len();
        self.rest.clear();
        right
    }
}

/// Pieces of a blob differ, so that none passes for another.
fn piece_revision(revision: u64, number: usize) -> u64 {
    revision | (number as u64 + 1) << 40
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(oid: u64, revision: u64, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        append(Oid(oid), revision, bytes, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_record_is_recognised(oid: u64, revision: u64, bytes in 0..100_usize) {
            let record = record(oid, revision, bytes);
            prop_assert_eq!(record.len(), bytes.max(HEAD_BYTES));
            prop_assert_eq!(check(Oid(oid), &record), Some(revision));
        }

        #[test]
        fn no_other_byte_is_right(
            oid: u64,
            revision: u64,
            bytes in HEAD_BYTES..100,
            at: prop::sample::Index,
            flip in 1..=255_u8,
        ) {
            let mut record = record(oid, revision, bytes);
            let at = at.index(record.len());
            record[at] ^= flip;
            // A shorter record than 24 bytes has revisions of which it shows too little.
            prop_assert!(bytes < 24 || check(Oid(oid), &record).is_none());
        }
    }

    #[test]
    fn a_blob_is_recognised_in_whatever_pieces_it_comes() {
        for bytes in [0, 16, 59_000, 59_016, 200_000] {
            let blob: Vec<u8> = blob_pieces(Oid(7), 3, bytes).flatten().collect();
            assert_eq!(blob.len(), bytes);
            for size in [1000, 59_000, 65_536] {
                let mut check = BlobCheck::new(Oid(7), 3);
                assert!(blob.chunks(size).all(|piece| check.take(piece)));
                assert_eq!(check.finish(), Some(bytes));
            }
        }
        assert!(!is_blob_length(59_001) && is_blob_length(0) && is_blob_length(59_016));
    }

    #[test]
    fn a_blob_with_pieces_in_another_order_is_refused() {
        let mut pieces: Vec<_> = blob_pieces(Oid(7), 3, 200_000).collect();
        pieces.swap(0, 1);
        let mut check = BlobCheck::new(Oid(7), 3);
        assert!(!pieces.iter().all(|piece| check.take(piece)));
        let mut of_another = BlobCheck::new(Oid(7), 4);
        assert!(of_another.take(&pieces[3]));
        assert_eq!(of_another.finish(), None);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(check(Oid(1), b""), None);
        assert_eq!(check(Oid(1), &record(2, 3, 64)), None);
        let mut long = record(1, 2, 64);
        long.push(0);
        assert_eq!(check(Oid(1), &long), None);
        // A prefix or an extension of one that would be right.
        assert_eq!(check(Oid(1), &record(1, 2, 64)[..56]), None);
        long.truncate(64);
        long.extend_from_slice(&record(1, 2, 72)[64..]);
        assert_eq!(check(Oid(1), &long), None);
    }
}
