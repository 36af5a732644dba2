//! memcached: get and set, in its text protocol.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use protocol::Oid;

use super::{Event, InOrder, Wire, line_end};
use crate::sizes::Sizes;

#[derive(Debug, Default)]
pub(super) struct Memcached(InOrder);

impl Wire for Memcached {
    fn is_open(&self) -> bool {
        true
    }

    fn load(&mut self, oid: Oid) -> anyhow::Result<u64> {
        self.0.output.extend_from_slice(format!("get {:016x}\r\n", oid.0).as_bytes());
        Ok(self.0.load())
    }

    fn commit(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<()> {
        let (oid, record) = self.0.store(oids, sizes)?;
        let head = format!("set {:016x} 0 0 {}\r\n", oid.0, record.len());
        self.0.output.extend_from_slice(head.as_bytes());
        self.0.output.extend_from_slice(&record);
        self.0.output.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn vote(&mut self, _: Oid, _: Sizes) -> anyhow::Result<()> {
        bail!("memcached does not vote")
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Event>> {
        let Some((end, after)) = line_end(input) else { return Ok(None) };
        let line = input.get(..end).unwrap_or_default();
        match line {
            b"STORED" => {
                input.advance(after);
                self.0.stored().map(Some)
            }
            b"END" => {
                input.advance(after);
                self.0.loaded(None).map(Some)
            }
            value if value.starts_with(b"VALUE ") => {
                let length = std::str::from_utf8(value)?.rsplit(' ').next();
                let length: usize = length.context("memcached's VALUE")?.parse()?;
                let whole = after + length + END.len();
                if input.len() < whole {
                    return Ok(None);
                }
                input.advance(after);
                let data = input.split_to(length).freeze();
                input.advance(END.len());
                self.0.loaded(Some(data)).map(Some)
            }
            other => bail!("memcached answers {}", other.escape_ascii()),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.0.poll_transmit(written)
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.0.revision(oid)
    }
}

/// What follows a value's data.
const END: &[u8] = b"\r\nEND\r\n";
