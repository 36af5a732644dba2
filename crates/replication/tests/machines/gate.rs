//! The gate of synchronous commits.

use std::time::Duration;

use protocol::Tid;
use replication::Gate;
use replication::gate::News;

const NOW: Duration = Duration::from_secs(100);
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn without_replicas_what_is_durable_is_approved() {
    let mut gate = Gate::new(0, None, Tid(5));
    assert_eq!(gate.approved(NOW), Tid(5));
    gate.durable(Tid(6), NOW);
    assert_eq!(gate.approved(NOW), Tid(6));
}

#[test]
fn as_many_nodes_as_wanted_have_to_have_it() {
    let mut gate = Gate::new(2, None, Tid(5));
    for (link, node) in [(1, "a"), (2, "b"), (3, "c")] {
        gate.join(link, node, Tid(5), NOW);
    }
    gate.durable(Tid(9), NOW);
    gate.ack(1, Tid(9), NOW);
    assert_eq!(gate.approved(NOW), Tid(5));
    gate.ack(3, Tid(7), NOW);
    assert_eq!(gate.approved(NOW), Tid(7));
    gate.leave(3);
    assert_eq!(gate.approved(NOW), Tid(7));
    gate.ack(2, Tid(9), NOW);
    assert_eq!(gate.approved(NOW), Tid(9));
}

#[test]
fn secondaries_do_not_approve_what_is_not_durable_here() {
    let mut gate = Gate::new(1, None, Tid(5));
    gate.join(1, "a", Tid(5), NOW);
    gate.ack(1, Tid(9), NOW);
    assert_eq!(gate.approved(NOW), Tid(5));
    gate.durable(Tid(8), NOW);
    assert_eq!(gate.approved(NOW), Tid(8));
}

#[test]
fn a_node_with_two_links_counts_once_and_by_the_newer_one() {
    let mut gate = Gate::new(2, None, Tid(5));
    gate.durable(Tid(9), NOW);
    gate.join(1, "a", Tid(9), NOW);
    gate.join(2, "a", Tid(6), NOW);
    gate.ack(1, Tid(9), NOW);
    assert_eq!(gate.approved(NOW), Tid(5));
    gate.leave(1);
    gate.join(3, "b", Tid(9), NOW);
    assert_eq!(gate.approved(NOW), Tid(6));
}

#[test]
fn patience_is_for_the_oldest_and_ends_in_a_fall_back() {
    let mut gate = Gate::new(1, Some(PATIENCE), Tid(5));
    assert_eq!(gate.deadline(), None);
    gate.durable(Tid(6), NOW);
    gate.durable(Tid(7), NOW + PATIENCE / 2);
    assert_eq!(gate.deadline(), Some(NOW + PATIENCE));
    assert_eq!(gate.approved(NOW + PATIENCE - Duration::from_millis(1)), Tid(5));
    assert_eq!((gate.approved(NOW + PATIENCE), gate.deadline()), (Tid(7), None));
    assert_eq!(gate.news(), Some(News::FellBack { tid: Tid(6), nodes: 0 }));
    gate.durable(Tid(8), NOW + PATIENCE);
    assert_eq!(gate.approved(NOW + PATIENCE), Tid(8));
    assert_eq!(gate.news(), None);
}

#[test]
fn after_a_fall_back_secondaries_count_again_when_they_have_caught_up() {
    let mut gate = Gate::new(1, Some(PATIENCE), Tid(5));
    gate.durable(Tid(10), NOW);
    let late = NOW + PATIENCE;
    gate.approved(late);
    gate.news();
    gate.durable(Tid(20), late);
    gate.join(1, "a", Tid(5), late);
    assert_eq!(gate.news(), None);
    gate.ack(1, Tid(20), late);
    assert_eq!(gate.news(), Some(News::Strict));
    gate.durable(Tid(21), late);
    assert_eq!(gate.approved(late), Tid(20));
}

#[test]
fn a_secondary_that_only_just_keeps_up_is_relied_on_when_it_is_quick() {
    let mut gate = Gate::new(1, Some(PATIENCE), Tid(5));
    gate.durable(Tid(10), NOW);
    let late = NOW + PATIENCE;
    gate.approved(late);
    gate.news();
    gate.join(1, "a", Tid(5), late);
    // It reaches the mark of the fall back, but that took long; there is more by then.
    gate.durable(Tid(30), late + PATIENCE);
    gate.ack(1, Tid(10), late + PATIENCE);
    assert_eq!(gate.news(), None);
    gate.durable(Tid(40), late + PATIENCE);
    gate.ack(1, Tid(30), late + PATIENCE + Duration::from_millis(500));
    assert_eq!(gate.news(), Some(News::Strict));
    assert_eq!(gate.deadline(), Some(late + 2 * PATIENCE + Duration::from_millis(500)));
}

#[test]
fn a_closed_gate_approves_nothing_more() {
    let mut gate = Gate::new(1, Some(PATIENCE), Tid(5));
    gate.join(1, "a", Tid(5), NOW);
    gate.durable(Tid(6), NOW);
    gate.close();
    gate.ack(1, Tid(6), NOW);
    gate.durable(Tid(7), NOW);
    assert_eq!(gate.approved(NOW + 2 * PATIENCE), Tid(5));
}
