//! Which file a place is in, and whether what is read there is right.

use std::path::Path;
use std::sync::Arc;

use protocol::{Failure, Oid};

use super::Segment;
use super::format::{self, RECORD_HEADER_BYTES, RecordHeader};
use crate::index::Place;
use crate::log::{At, record_crc};

/// Whether header and data are those of a record of `oid`.
pub(super) fn is_whole(header: &[u8; RECORD_HEADER_BYTES], oid: Oid, data: &[u8]) -> bool {
    RecordHeader::decode(header).is_some_and(|header| {
        header.oid == oid
            && header.data_bytes() == data.len() as u64
            && header.crc == record_crc(oid, Some(data))
    })
}

/// The segment of that number.
pub(super) fn numbered(segments: &[Arc<Segment>], number: u32) -> Option<&Arc<Segment>> {
    segments.get(usize::try_from(number.checked_sub(1)?).ok()?)
}

/// The file that `place` is in.
pub(super) fn segment_of(
    segments: &[Arc<Segment>],
    oid: Oid,
    place: Place,
) -> Result<At<Arc<Segment>>, Failure> {
    let Some(segment) = numbered(segments, format::number(place.segment)) else {
        return Err(damaged(Path::new("the index"), oid, place, "no such segment"));
    };
    if segment.slot == place.segment {
        return Ok(At::Here(Arc::clone(segment)));
    }
    let replaced = segment.replaced.load_full();
    let replaced = replaced.filter(|replaced| replaced.slot == place.segment);
    Ok(replaced.map_or(At::Moved, At::Here))
}

pub(super) fn damaged(path: &Path, oid: Oid, place: Place, what: &str) -> Failure {
    let text = format!(
        "{}: cannot read the record of object {oid} at offset {}: {what}",
        path.display(),
        place.offset
    );
    tracing::error!("{text}");
    Failure::Storage(text)
}
