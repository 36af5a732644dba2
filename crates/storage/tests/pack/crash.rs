//! The power is cut, or the process killed, at every moment of a pack, with and without commits
//! beside it.
//!
//! `CRASH_SEED` chooses the history, `CRASH_IMAGES` how many ways to lose what was not synced are
//! tried for each moment.

use protocol::{Oid, Tid};
use storage::{Options, Storage, Sync};
use testkit::{Inbox, SimDisk, compare};

use crate::history::History;
use crate::support::{self, mapped, number, small};
use crate::{pack, wait_for_pack};

/// A pack, and what was committed before and beside it.
struct Story {
    disk: SimDisk,
    options: Options,
    history: History,
    to: Tid,
    /// After how many changes of the disk a pack was asked for, and ended.
    began: usize,
    ended: usize,
    /// After how many changes each transaction was answered.
    answered: Vec<usize>,
}

impl Story {
    fn new(options: Options, commits_beside: bool) -> Self {
        let disk = SimDisk::new();
        let inbox = Inbox::new();
        let storage = support::open(&disk, options).unwrap();
        let mut history = History::make(&*storage, &inbox, number("CRASH_SEED", 1), 60);
        // Without syncs, what supersedes is not durable: all of it, so that a pack has to see to that.
        let to = history.tid(if options.sync == Sync::None { 59 } else { 45 });
        let began = disk.op_count();
        let mut answered = vec![began; history.len()];
        let reply = inbox.reply_to();
        let ticket = reply.ticket;
        storage.pack(to, reply);
        // Few, also where the pack's thread has to wait: each moment of the story is tried.
        while commits_beside && history.len() < 100 && storage.measures().pack.is_running {
            history.go_on(&*storage, &inbox, 1);
            answered.push(disk.op_count());
        }
        inbox.answer(ticket);
        let ended = disk.op_count();
        Self { disk, options, history, to, began, ended, answered }
    }

    /// Opens what is left after `ops` changes, lets the pack go on, and compares.
    fn judge(&self, left: &SimDisk, ops: usize, seed: u64) -> Result<bool, String> {
        let inbox = Inbox::new();
        let start = left.op_count();
        let history = self.open_and_check(left, ops, &inbox)?;
        // The power goes again while the pack goes on.
        let again = start + seed as usize % (left.op_count() - start + 1);
        self.open_and_check(&left.power_cut(again, seed), ops, &inbox)?;
        let storage = support::open(left, self.options).map_err(|error| error.to_string())?;
        let has_resumed = storage.measures().pack.packed_to == self.to;
        wait_for_pack(&*storage);
        // The crash may have come before anything of the pack was durable.
        pack(&inbox, &*storage, self.to).map_err(|failure| failure.to_string())?;
        let absent: Vec<_> = (0..20).map(Oid).collect();
        compare::same_content(&*storage, &inbox, &history.packed(self.to), &absent)?;
        Ok(has_resumed)
    }

    /// What was committed as far as it is there.
    fn open_and_check(&self, left: &SimDisk, ops: usize, inbox: &Inbox) -> Result<History, String> {
        let storage = support::open(left, self.options).map_err(|error| error.to_string())?;
        let history = self.history.until(last_tid(&*storage, inbox));
        let answered = self.answered.iter().filter(|answered| **answered <= ops).count();
        if history.len() < answered && self.options.sync != Sync::None {
            return Err(format!("{} of {answered} transactions are there", history.len()));
        }
        history.check(&*storage, inbox, self.to)?;
        wait_for_pack(&*storage);
        history.check(&*storage, inbox, self.to)?;
        Ok(history)
    }
}

fn last_tid(storage: &dyn Storage, inbox: &Inbox) -> Tid {
    let last_tid = storage.subscribe(&inbox.mailbox);
    storage.unsubscribe(&inbox.mailbox);
    last_tid
}

#[test]
fn a_crash_at_any_moment_of_a_pack_leaves_what_was_or_what_is_to_be() {
    let images = number("CRASH_IMAGES", 2);
    for (options, commits_beside) in [
        (small(), false),
        (small(), true),
        (mapped(), false),
        (Options { sync: Sync::None, ..small() }, false),
        (Options { sync: Sync::None, ..small() }, true),
    ] {
        let story = Story::new(options, commits_beside);
        let mut resumed = 0;
        for ops in story.began..=story.ended {
            for image in 0..=images {
                let seed = ops as u64 * images + image;
                let left = match image {
                    0 => story.disk.killed(ops),
                    _ => story.disk.power_cut(ops, seed),
                };
                match story.judge(&left, ops, seed) {
                    Ok(has_resumed) => resumed += u32::from(has_resumed),
                    Err(what) => panic!(
                        "after {ops} changes, image {image}, {commits_beside}, {options:?}: {what}\n{:#?}",
                        story.disk.ops().get(ops - 1)
                    ),
                }
            }
        }
        assert!(resumed > 20, "{resumed}");
        assert!(story.ended - story.began > 30, "{} changes", story.ended - story.began);
    }
}
