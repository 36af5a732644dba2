//! What a session does from bytes to bytes.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use protocol::{Codec, Limits, Oid, Request, Tid, frame};
use session::{Counters, Host, Hosted, Session};
use storage::{Mailbox, Wake};

use super::messages::{Message, record};
use super::{Operation, encodings, storages};
use crate::Inbox;

/// A session reads a request to load a record of `bytes` bytes, which are in memory, and answers.
pub fn load<C: Codec>(bytes: usize) -> Operation {
    let storage = storages::in_memory();
    let data = record(bytes);
    Inbox::new().commit(&*storage, &[(OID, Tid::ZERO, &data)]).expect("a new object");
    let hosted = Arc::new(Hosted { storage, counters: Counters::default() });
    let storages = [("1".to_owned(), hosted)].into();
    let host = Arc::new(Host { storages, read_only: false, started: String::new() });
    let mailbox = Mailbox::new(1 << 20, Arc::new(Nobody));
    let mut session = Session::<C>::new(host, mailbox, Limits::default(), "peer".to_owned());

    let register = Request::Register { storage: "1".to_owned(), read_only: false };
    let mut input = BytesMut::from(&framed::<C>(register)[..]);
    let mut output = Vec::new();
    session.handle_input(&mut input, &mut output).expect("the storage is there");
    let request = framed::<C>(Request::LoadBefore { oid: OID, before: Tid::MAX });
    Box::new(move || {
        output.clear();
        input.extend_from_slice(black_box(&request));
        session.handle_input(&mut input, &mut output).expect("the object is there");
        assert!(black_box(&output).len() > bytes, "it is answered at once");
    })
}

fn framed<C: Codec>(request: Request) -> Vec<u8> {
    let message = encodings::frame::<C>(&Message::Request(request)).expect("every codec has it");
    let mut out = Vec::new();
    assert!(frame::write(&mut out, |out| out.extend_from_slice(&message)), "it is short");
    out
}

/// Nothing comes through this mailbox.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

const OID: Oid = Oid(1);
