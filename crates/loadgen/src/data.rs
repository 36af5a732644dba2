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
