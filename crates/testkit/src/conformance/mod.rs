//! What every server has to do, whatever its runtime, for every dialect, storage and kind of
//! socket.
//!
//! A case is a function that gets a [`Setup`]. [`crate::conformance!`] makes tests of all of them:
//! a server crate's whole test is one line that names its binary. Every case starts a server
//! process of its own, talks to it over real sockets and has it end by SIGTERM, in order.
//!
//! A new case is a function and its name in the macro.

mod bench;
mod downloads;
mod peer;

pub mod bad_input;
pub mod blobs;
pub mod commits;
pub mod durability;
pub mod hammer;
pub mod large;
pub mod order;
pub mod packs;
pub mod past;
pub mod reads;
pub mod refusals;
pub mod replication;
pub mod undo;
pub mod waiting;

pub use codecs::Dialect;

/// Which server, and how it is used.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Path of the binary.
    pub program: &'static str,
    /// What is spoken.
    pub dialect: Dialect,
    /// Where the data are.
    pub storage: StorageKind,
    /// How clients connect.
    pub socket: SocketKind,
}

/// A kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// `file:DIR`.
    File,
    /// The same, read through mappings.
    Mapped,
    /// `memory:`.
    Memory,
}

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A free port of this machine.
    Tcp,
    /// The same, inside TLS with client certificates.
    Tls,
    /// In the file system.
    Unix,
}

/// Makes a test of each case for each dialect, storage and kind of socket of one server binary.
#[macro_export]
macro_rules! conformance {
    ($program:expr) => {
        $crate::conformance! { @durable pickle_file: $program, Pickle, File, Tcp }
        $crate::conformance! { @durable msgpack_file: $program, MsgPack, File, Tcp }
        $crate::conformance! { @durable proto_file: $program, Proto, File, Tcp }
        $crate::conformance! { @durable msgpack_mapped: $program, MsgPack, Mapped, Tcp }
        $crate::conformance! { @memory pickle_memory: $program, Pickle, Tcp }
        $crate::conformance! { @memory msgpack_memory: $program, MsgPack, Tcp }
        $crate::conformance! { @memory proto_memory: $program, Proto, Tcp }
        $crate::conformance! { @durable msgpack_file_unix: $program, MsgPack, File, Unix }
        $crate::conformance! { @memory msgpack_memory_tls: $program, MsgPack, Tls }
        mod once {
            $crate::conformance! { @setup $program, MsgPack, File, Tcp }
            $crate::conformance! { @tests
                blobs::memory_does_not_depend_on_how_large_a_blob_is,
            }
        }
    };
    (@durable $name:ident: $program:expr, $dialect:ident, $storage:ident, $socket:ident) => {
        mod $name {
            $crate::conformance! { @setup $program, $dialect, $storage, $socket }
            $crate::conformance! { @all_kinds }
            $crate::conformance! { @files }
        }
    };
    (@memory $name:ident: $program:expr, $dialect:ident, $socket:ident) => {
        mod $name {
            $crate::conformance! { @setup $program, $dialect, Memory, $socket }
            $crate::conformance! { @all_kinds }
        }
    };
    (@setup $program:expr, $dialect:ident, $storage:ident, $socket:ident) => {
        const SETUP: $crate::conformance::Setup = $crate::conformance::Setup {
            program: $program,
            dialect: $crate::conformance::Dialect::$dialect,
            storage: $crate::conformance::StorageKind::$storage,
            socket: $crate::conformance::SocketKind::$socket,
        };
    };
    (@all_kinds) => {
        $crate::conformance! { @tests
            commits::a_commit_is_read_by_another_connection,
            commits::a_vote_is_answered_with_all_conflicts,
            commits::the_ninth_conflicting_vote_fails,
            commits::a_stale_read_check_fails_the_vote,
            commits::a_deleted_object_is_gone,
            commits::a_copied_transaction_keeps_its_tid,
            commits::an_aborted_transaction_leaves_nothing,
            commits::a_transaction_may_be_empty,
            reads::every_revision_is_found_at_every_tid,
            reads::an_unknown_object_is_a_key_error,
            reads::new_oids_never_repeat,
            reads::dialects_can_be_mixed,
            order::all_others_are_told_of_every_transaction,
            order::finishes_and_invalidations_come_in_tid_order,
            order::a_registration_among_commits_leaves_no_gap,
            order::a_ping_after_a_finish_hears_of_it_first,
            order::a_reader_that_was_slow_misses_nothing,
            order::recent_invalidations_are_remembered,
            waiting::a_voted_transaction_delays_no_other_object,
            waiting::votes_for_one_object_are_answered_in_turn,
            waiting::a_lock_goes_to_who_came_first,
            waiting::loads_go_on_while_a_vote_waits,
            waiting::a_vote_is_answered_to_who_did_not_read_meanwhile,
            waiting::a_waiting_vote_can_be_aborted,
            waiting::a_lost_connection_frees_its_locks,
            waiting::read_checks_share_a_lock,
            undo::an_undo_brings_back_what_was_before,
            undo::several_transactions_are_undone_at_once,
            undo::later_changes_are_in_the_way_of_an_undo,
            undo::an_unknown_transaction_cannot_be_undone,
            undo::an_undo_log_lists_transactions,
            undo::a_history_lists_the_revisions_of_an_object,
            past::transactions_come_back_by_iteration,
            past::commits_go_on_during_an_iteration,
            past::an_iterator_that_is_gone_is_unknown,
            past::a_copy_of_a_storage_is_equal,
            past::all_objects_are_walked_through,
            past::what_a_cache_missed_is_told_from_far_back,
            packs::a_pack_drops_what_was_superseded,
            packs::any_time_may_be_packed_to,
            packs::a_reader_may_pack_and_all_hear_of_it,
            packs::what_is_packed_cannot_be_undone,
            replication::a_secondary_has_what_its_primary_has_and_blobs,
            refusals::a_read_only_server_refuses_writers,
            refusals::a_read_only_connection_cannot_write,
            refusals::an_unknown_storage_is_refused,
            refusals::an_oid_that_is_too_high_fails_the_vote,
            large::a_large_record_comes_back,
            large::a_transaction_of_many_objects_is_one,
            large::a_transaction_beyond_the_memory_limit_comes_back,
            blobs::a_blob_of_any_size_comes_back,
            blobs::uploads_of_one_object_at_once_do_not_mix,
            blobs::nothing_is_left_of_an_aborted_blob,
            blobs::nothing_is_left_of_a_lost_connection,
            blobs::downloads_come_one_after_the_other_and_hold_up_nobody,
            blobs::a_blob_that_gets_shorter_closes_the_connection,
            blobs::a_shared_file_is_taken,
            blobs::a_missing_blob_is_a_key_error,
            blobs::without_a_directory_the_vote_says_so,
            bad_input::a_wrong_handshake_closes_the_connection,
            bad_input::a_garbage_frame_closes_the_connection,
            bad_input::an_unknown_method_closes_the_connection,
            bad_input::an_oversized_length_closes_the_connection,
            bad_input::a_request_before_the_registration_closes_the_connection,
            bad_input::a_store_without_a_transaction_closes_the_connection,
            bad_input::a_second_begin_closes_the_connection,
            bad_input::half_a_message_harms_nobody,
            bad_input::a_wrong_oid_is_answered_with_an_error,
            bad_input::a_wrong_id_in_a_transaction_is_told_by_the_vote,
            bad_input::calls_without_a_transaction_are_answered,
            hammer::a_history_of_concurrent_transactions_is_consistent,
        }
    };
    (@files) => {
        $crate::conformance! { @tests
            durability::what_was_answered_survives_a_kill,
            durability::blobs_survive_a_kill_and_uploads_do_not,
            durability::a_restart_keeps_everything,
            durability::invalidations_are_remembered_over_a_restart,
            durability::new_oids_do_not_repeat_after_a_restart,
            durability::a_directory_has_one_server,
            past::the_past_survives_a_kill,
            packs::a_pack_survives_a_kill,
        }
    };
    (@tests $($group:ident::$case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$group::$case(&SETUP);
            }
        )*
    };
}
