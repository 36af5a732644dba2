//! The floor's protocol: messages of the sizes that ZEO's have, and nothing else.
//!
//! ```text
//! request = length (4), ticket (8), oid (8), padding up to REQUEST_BYTES
//! reply   = length (4), ticket (8), record; no bytes of a record: there is none
//! ```

use anyhow::bail;
use bytes::{Buf as _, BufMut as _, BytesMut};
use protocol::{Oid, frame};

use super::{Event, InOrder, Wire};
use crate::sizes::Sizes;

/// About as long as a `loadBefore` in MessagePack.
const REQUEST_BYTES: usize = 60;

/// What precedes the record.
pub(crate) const REPLY_HEAD_BYTES: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Echo(InOrder);

/// The first request in `input`, if it is whole: ticket and oid.
pub(crate) fn parse_request(input: &mut BytesMut) -> Option<(u64, Oid)> {
    if input.len() < REQUEST_BYTES {
        return None;
    }
    let mut request = input.split_to(REQUEST_BYTES);
    request.advance(4);
    Some((request.get_u64(), Oid(request.get_u64())))
}

impl Wire for Echo {
    fn is_open(&self) -> bool {
        true
    }

    fn load(&mut self, oid: Oid) -> anyhow::Result<u64> {
        let ticket = self.0.load();
        let end = self.0.output.len() + REQUEST_BYTES;
        self.0.output.put_u32((REQUEST_BYTES - 4) as u32);
        self.0.output.put_u64(ticket);
        self.0.output.put_u64(oid.0);
        self.0.output.resize(end, 0);
        Ok(ticket)
    }

    fn commit(&mut self, _: &[Oid], _: Sizes) -> anyhow::Result<()> {
        bail!("the echo server stores nothing")
    }

    fn vote(&mut self, _: Oid, _: Sizes) -> anyhow::Result<()> {
        bail!("the echo server does not vote")
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Event>> {
        let Some(mut message) = frame::split(input, 1 << 30)? else { return Ok(None) };
        if message.len() < 8 {
            bail!("the echo server sent a message of {} bytes", message.len());
        }
        let answered = message.get_u64();
        match self.0.loaded((!message.is_empty()).then_some(message))? {
            Event::Loaded { ticket, .. } if ticket != answered => {
                bail!("the echo server answers request {answered} instead of {ticket}")
            }
            event => Ok(Some(event)),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.0.poll_transmit(written)
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.0.revision(oid)
    }
}
