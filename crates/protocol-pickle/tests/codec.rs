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
    requests: 186,
    refused: 2,
    loose: 8,
    malformed: 1,
    replies: 135,
    pushes: 34,
    foreign: 4,
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
fn handshakes() {
    zeo::semantics::handshakes::<Z5>();
}

#[test]
fn codecs_are_used_again() {
    zeo::semantics::codecs_are_used_again::<Z5>();
}

#[test]
fn histories_of_what_is_no_object() {
    zeo::past::histories_of_what_is_no_object::<Z5>();
}

#[test]
fn slices_of_the_undo_log() {
    zeo::past::slices_of_the_undo_log::<Z5>();
}

#[test]
fn filters_of_the_undo_log() {
    zeo::past::filters_of_the_undo_log::<Z5>();
}

#[test]
fn names_of_transactions_to_undo() {
    zeo::past::names_of_transactions_to_undo::<Z5>();
}

#[test]
fn times_of_packs() {
    zeo::past::times_of_packs::<Z5>();
}

#[test]
fn numbers_of_iterators() {
    zeo::past::numbers_of_iterators::<Z5>();
}

#[test]
fn extensions_with_the_names_of_others() {
    zeo::past::extensions_with_the_names_of_others::<Z5>();
}

#[test]
fn extensions_that_cannot_be_read() {
    zeo::past::extensions_that_cannot_be_read::<Z5>();
}

#[test]
fn undo_errors_within_undo_errors() {
    zeo::past::undo_errors_within_undo_errors::<Z5>();
}

#[test]
fn chunks_are_slices_of_the_frame() {
    zeo::past::chunks_are_slices_of_the_frame::<Z5>();
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
