//! A server whose pack ends when a test wants it.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use codecs::{Dialect, WithCodec, dispatch};
use protocol::{Codec, Failure, Info, Limits, Reply, Request, Tid, frame};

/// What it answers to a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packs {
    /// Nothing; and its status tells that one part of three is done.
    Never,
    /// That a pack is under way.
    Already,
    /// It closes the connection.
    Crashing,
}

/// Its URL, and the packs that it was asked for: as of when, and whether somebody waits.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<(Tid, bool)>>>,
}

impl Fake {
    pub(crate) fn start(packs: Packs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("proto://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let accept = Accept { listener, packs, asked: Arc::clone(&asked) };
        thread::spawn(move || dispatch(Dialect::Proto, accept));
        Self { url, asked }
    }
}

struct Accept {
    listener: TcpListener,
    packs: Packs,
    asked: Arc<Mutex<Vec<(Tid, bool)>>>,
}

impl WithCodec for Accept {
    type Out = ();

    fn call<C: Codec>(self) {
        for stream in self.listener.incoming() {
            let (packs, asked) = (self.packs, Arc::clone(&self.asked));
            // The client is gone, or was told to go.
            thread::spawn(move || {
                _ = talk(&mut stream.unwrap(), &mut C::new(Limits::default()), packs, &asked)
            });
        }
    }
}

fn talk<C: Codec>(
    stream: &mut TcpStream,
    codec: &mut C,
    packs: Packs,
    asked: &Mutex<Vec<(Tid, bool)>>,
) -> io::Result<()> {
    send(stream, |out| out.extend_from_slice(&C::greeting()))?;
    if receive(stream)? == b"ruok"[..] {
        let running = packs == Packs::Already || !asked.lock().unwrap().is_empty();
        let pack = format!(
            r#"{{"running": {running}, "parts_done": 1, "parts": 3, "bytes_freed": 2048}}"#
        );
        return send(stream, |out| {
            out.extend_from_slice(format!(r#"{{"1": {{"pack": {pack}}}}}"#).as_bytes())
        });
    }
    loop {
        let call = codec.decode_request(&receive(stream)?).unwrap();
        let reply = match call.request {
            Request::Info => Reply::Info(Info { size: 5 << 10, ..Info::default() }),
            Request::Pack { before, wait } => {
                asked.lock().unwrap().push((before, wait));
                match packs {
                    Packs::Never => continue,
                    Packs::Crashing => return Ok(()),
                    Packs::Already => Reply::Failed(Failure::Storage("Already packing".to_owned())),
                }
            }
            _ => Reply::Tid(Tid(1)),
        };
        if let Some(id) = call.id {
            send(stream, |out| codec.encode_reply(&id, &reply, out))?;
        }
    }
}

fn send(stream: &mut TcpStream, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    assert!(frame::write(&mut bytes, encode));
    stream.write_all(&bytes)
}

fn receive(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut message)?;
    Ok(message.into())
}
