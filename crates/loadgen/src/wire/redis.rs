//! Redis: GET and SET, in its own protocol (RESP).

use anyhow::bail;
use bytes::{Buf as _, BytesMut};
use protocol::Oid;

use super::{Event, InOrder, Wire, line_end};
use crate::sizes::Sizes;

#[derive(Debug, Default)]
pub(super) struct Redis(InOrder);

fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

impl Wire for Redis {
    fn is_open(&self) -> bool {
        true
    }

    fn load(&mut self, oid: Oid) -> anyhow::Result<u64> {
        command(&mut self.0.output, &[b"GET", &oid.to_bytes()]);
        Ok(self.0.load())
    }

    fn commit(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<()> {
        let (oid, record) = self.0.store(oids, sizes)?;
        command(&mut self.0.output, &[b"SET", &oid.to_bytes(), &record]);
        Ok(())
    }

    fn vote(&mut self, _: Oid, _: Sizes) -> anyhow::Result<()> {
        bail!("redis does not vote")
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Event>> {
        let Some((end, after)) = line_end(input) else { return Ok(None) };
        let line = input.get(..end).unwrap_or_default();
        match line.split_first() {
            Some((b'+', b"OK")) => {
                input.advance(after);
                self.0.stored().map(Some)
            }
            Some((b'$', b"-1")) => {
                input.advance(after);
                self.0.loaded(None).map(Some)
            }
            Some((b'$', digits)) => {
                let length: usize = std::str::from_utf8(digits)?.parse()?;
                if input.len() < after + length + 2 {
                    return Ok(None);
                }
                input.advance(after);
                let data = input.split_to(length).freeze();
                input.advance(2);
                self.0.loaded(Some(data)).map(Some)
            }
            _ => bail!("redis answers {}", line.escape_ascii()),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.0.poll_transmit(written)
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.0.revision(oid)
    }
}
