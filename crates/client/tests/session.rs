//! The session alone, with all codecs, and no socket.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::BytesMut;
use client::{Options, Session, SessionError};
use codecs::{Dialect, WithCodec, dispatch};
use protocol::{
    Codec, Failure, Incoming, Limits, MessageId, Oid, Push, Reply, Request, Tid, frame,
};

#[test]
fn requests_wait_for_the_greeting_and_follow_the_answer() {
    for_all(Pipelining);
}

#[test]
fn answers_may_come_in_any_order_but_only_once() {
    for_all(AnyOrder);
}

#[test]
fn a_greeting_of_something_else_is_refused() {
    for_all(WrongGreeting);
}

#[test]
fn long_frames_are_refused() {
    for_all(LongFrame);
}

#[test]
fn an_invalidation_may_name_millions_of_objects() {
    for_all(LongInvalidation);
}

fn for_all<V: WithCodec<Out = ()> + Copy>(test: V) {
    for dialect in Dialect::ALL {
        dispatch(dialect, test);
    }
}

#[derive(Clone, Copy)]
struct Pipelining;

impl WithCodec for Pipelining {
    type Out = ();

    fn call<C: Codec>(self) {
        let mut session = Session::<C>::new(Limits::default());
        let mut written = Vec::new();
        assert_eq!(session.handle_request(&Request::Ping), Ok(Some(1)));
        assert_eq!(session.handle_request(&Request::Label("name".to_owned())), Ok(None));
        assert_eq!(session.handle_request(&Request::Info), Ok(Some(2)));
        assert!(!session.poll_transmit(&mut written));

        // Byte by byte, since that is how a network may deliver it.
        let mut input = BytesMut::new();
        for byte in framed(|out| out.extend_from_slice(&C::greeting())) {
            assert!(!session.is_greeted());
            input.extend_from_slice(&[byte]);
            assert_eq!(session.handle_input(&mut input), Ok(None));
        }
        assert!(session.is_greeted());
        assert!(session.poll_transmit(&mut written));
        assert!(!session.poll_transmit(&mut Vec::new()));

        let mut received = BytesMut::from(&written[..]);
        assert!(C::accepts(&frame::split(&mut received, 1000).unwrap().unwrap()));
        let requests: Vec<Request> =
            calls::<C>(&written).into_iter().map(|(_, call)| call).collect();
        assert_eq!(requests, [Request::Ping, Request::Label("name".to_owned()), Request::Info]);
        assert_eq!(session.calls_under_way(), 2);
    }
}

#[derive(Clone, Copy)]
struct AnyOrder;

impl WithCodec for AnyOrder {
    type Out = ();

    fn call<C: Codec>(self) {
        let (mut session, mut server) = connected::<C>();
        for oid in 1..=3 {
            let request = Request::CurrentTid { oid: Oid(oid) };
            assert_eq!(session.handle_request(&request), Ok(Some(oid)));
        }
        let mut written = Vec::new();
        assert!(session.poll_transmit(&mut written));
        let ids: Vec<MessageId> = calls::<C>(&[&framed(|_| ()), &written[..]].concat())
            .into_iter()
            .filter_map(|(id, _)| id)
            .collect();

        let push = Push::Invalidate { tid: Tid(9), oids: [Oid(1)].into() };
        let failure = Reply::Failed(Failure::UnknownOid(Oid(3)));
        let mut input = BytesMut::new();
        input.extend(framed(|out| server.encode_reply(&ids[2], &failure, out)));
        input.extend(framed(|out| server.encode_push(&push, out)));
        input.extend(framed(|out| server.encode_reply(&ids[0], &Reply::Tid(Tid(7)), out)));
        input.extend(framed(|out| server.encode_reply(&ids[1], &Reply::Tid(Tid(8)), out)));
        let expected = [
            Incoming::Reply { number: 3, reply: failure },
            Incoming::Push(push),
            Incoming::Reply { number: 1, reply: Reply::Tid(Tid(7)) },
            Incoming::Reply { number: 2, reply: Reply::Tid(Tid(8)) },
        ];
        for incoming in expected {
            assert_eq!(session.handle_input(&mut input), Ok(Some(incoming)));
        }
        assert_eq!(session.handle_input(&mut input), Ok(None));
        assert_eq!(session.calls_under_way(), 0);

        input.extend(framed(|out| server.encode_reply(&ids[1], &Reply::Tid(Tid(8)), out)));
        assert!(matches!(session.handle_input(&mut input), Err(SessionError::Malformed(_))));
    }
}

#[derive(Clone, Copy)]
struct WrongGreeting;

impl WithCodec for WrongGreeting {
    type Out = ();

    fn call<C: Codec>(self) {
        let mut session = Session::<C>::new(Limits::default());
        let mut input = BytesMut::new();
        input.extend(framed(|out| out.extend_from_slice(b"SSH-2.0")));
        let error = session.handle_input(&mut input).unwrap_err();
        assert!(error.to_string().contains("SSH-2.0"), "{error}");
    }
}

#[derive(Clone, Copy)]
struct LongFrame;

impl WithCodec for LongFrame {
    type Out = ();

    fn call<C: Codec>(self) {
        let limits = Limits { message_bytes: 1000, ..Limits::default() };
        let mut session = Session::<C>::new(limits);
        let mut input = BytesMut::from(&b"\0\0\x03\xe9"[..]);
        assert!(matches!(session.handle_input(&mut input), Err(SessionError::TooLong(_))));
    }
}

#[derive(Clone, Copy)]
struct LongInvalidation;

impl WithCodec for LongInvalidation {
    type Out = ();

    fn call<C: Codec>(self) {
        let (mut session, mut server) = connected::<C>();
        let oids = (0..2_000_000).map(Oid).collect();
        let push = Push::Invalidate { tid: Tid(9), oids };
        let mut input = BytesMut::from(&framed(|out| server.encode_push(&push, out))[..]);
        assert!(session.handle_input(&mut input) == Ok(Some(Incoming::Push(push))));
    }
}

/// A session that was greeted, and a codec for its server.
fn connected<C: Codec>() -> (Session<C>, C) {
    let mut session = Session::<C>::new(Options::default().limits);
    let mut input = BytesMut::new();
    input.extend(framed(|out| out.extend_from_slice(&C::greeting())));
    assert_eq!(session.handle_input(&mut input), Ok(None));
    assert!(session.poll_transmit(&mut Vec::new()));
    (session, C::new(Limits::default()))
}

/// The requests that a server finds after the answer to its greeting.
fn calls<C: Codec>(written: &[u8]) -> Vec<(Option<MessageId>, Request)> {
    let mut server = C::new(Limits::default());
    let mut received = BytesMut::from(written);
    let mut calls = Vec::new();
    frame::split(&mut received, 1000).unwrap().unwrap();
    while let Some(message) = frame::split(&mut received, 1000).unwrap() {
        let call = server.decode_request(&message).unwrap();
        calls.push((call.id, call.request));
    }
    calls
}

fn framed(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(frame::write(&mut out, encode));
    out
}
