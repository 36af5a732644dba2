//! Pickle against recorded sessions, random messages and hostile bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how tests fail, and clippy sees only #[test] functions as tests"
)]

// The tests that both encodings have to pass live beside the other one.
#[path = "../../protocol-msgpack/tests/zeo/mod.rs"]
mod zeo;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol_pickle::{Pickle, Z5};
use zeo::golden::Counts;

const SESSIONS: &str = include_str!("data/golden.txt");

#[test]
fn recorded_sessions_are_reproduced() {
    assert_eq!(zeo::golden::check::<Pickle>(SESSIONS), EXPECTED);
}

const EXPECTED: Counts = Counts {
    requests: 150,
    refused: 44,
    loose: 2,
    malformed: 1,
    replies: 101,
    pushes: 31,
    foreign: 41,
    unasked: 2,
};

#[test]
fn serials_and_data_are_loose() {
    zeo::semantics::serials_and_data_are_loose::<Z5>();
}

#[test]
fn a_begin_may_be_short_and_may_be_a_call() {
    zeo::semantics::a_begin_may_be_short_and_may_be_a_call::<Z5>();
}

#[test]
fn wrong_arguments_of_calls_are_told() {
    zeo::semantics::wrong_arguments_of_calls_are_told::<Z5>();
}

#[test]
fn wrong_arguments_of_writes_are_their_transactions() {
    zeo::semantics::wrong_arguments_of_writes_are_their_transactions::<Z5>();
}

#[test]
fn what_zeo_has_and_this_version_has_not() {
    zeo::semantics::what_zeo_has_and_this_version_has_not::<Z5>();
}

#[test]
fn what_closes_the_connection() {
    zeo::semantics::what_closes_the_connection::<Z5>();
}

#[test]
fn limits_hold() {
    zeo::semantics::limits_hold::<Z5>();
}

#[test]
fn record_data_are_slices_of_the_frame() {
    zeo::semantics::record_data_are_slices_of_the_frame::<Z5>();
}

#[test]
fn foreign_errors_are_readable() {
    zeo::semantics::foreign_errors_are_readable::<Z5>();
}

#[test]
fn votes_answered_with_oids_are_refused() {
    zeo::semantics::votes_answered_with_oids_are_refused::<Z5>();
}

#[test]
fn handshakes() {
    zeo::semantics::handshakes::<Z5>();
}

#[test]
fn codecs_are_used_again() {
    zeo::semantics::codecs_are_used_again::<Z5>();
}

proptest! {
    #[test]
    fn requests_arrive(number in 1u64.., request in zeo::strategies::request()) {
        zeo::round_trip::request::<Pickle>(number, &request)?;
    }

    #[test]
    fn replies_arrive(number in 1u64.., (expect, reply) in zeo::strategies::reply()) {
        zeo::round_trip::reply::<Pickle>(number, expect, &reply)?;
    }

    #[test]
    fn pushes_arrive(push in zeo::strategies::push()) {
        zeo::round_trip::push::<Pickle>(&push)?;
    }

    #[test]
    fn any_bytes_do_no_harm(frame in vec(any::<u8>(), 0..300)) {
        zeo::hostile::any_bytes::<Pickle>(&Bytes::from(frame));
    }

    #[test]
    fn changed_messages_do_no_harm(frame in zeo::hostile::mutated(SESSIONS)) {
        zeo::hostile::any_bytes::<Pickle>(&frame);
    }
}
