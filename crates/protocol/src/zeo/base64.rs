//! Tids as base64: how undo names transactions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::Tid;

pub(super) fn of_tid(tid: Tid) -> String {
    STANDARD.encode(tid.to_bytes())
}

/// `None`: it is not base64 of 8 bytes. Python's ends in a newline, unless that was cut off.
pub(super) fn to_tid(text: &[u8]) -> Option<Tid> {
    let mut bytes = [0; 9];
    let length = STANDARD.decode_slice(text.trim_ascii(), &mut bytes).ok()?;
    Tid::try_from(bytes.get(..length)?).ok()
}
