//! Does one operation a number of times, for a tool that counts instructions: `cargo xtask
//! instructions` runs it under callgrind.
//!
//! Without an argument it prints one line for each operation, with tabs between: its name, how often
//! it is done, the function within which instructions are to be counted, and by how many percent the
//! count may differ from the baseline. With a name it does that.

use std::process::ExitCode;

use codecs::{Dialect, WithCodec, dispatch};
use protocol::Codec;
use testkit::operations::{Operation, encodings, messages, sessions, storages};

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    for Counted { name, function, allowed_percent, prepare } in operations() {
        match &wanted {
            None => println!("{name}\t{REPEATS}\t{function}\t{allowed_percent}"),
            Some(wanted) if *wanted == name => {
                let mut operation = prepare();
                (0..REPEATS).for_each(|_| counted(&mut *operation));
                return ExitCode::SUCCESS;
            }
            Some(_) => {}
        }
    }
    let Some(unknown) = wanted else { return ExitCode::SUCCESS };
    eprintln!("error: there is no operation {unknown:?}; without an argument all are named");
    ExitCode::FAILURE
}

struct Counted {
    name: String,
    function: &'static str,
    allowed_percent: f64,
    prepare: Box<dyn FnOnce() -> Operation>,
}

fn operations() -> Vec<Counted> {
    let mut all = Vec::new();
    for dialect in Dialect::ALL {
        all.extend(dispatch(dialect, OfCodec));
    }
    all.extend([
        own("lock and release 1 object", || storages::lock_and_release(1)),
        own("lock and release 100 objects", || storages::lock_and_release(100)),
        own("lock and release with 100 waiters", || storages::lock_queue(100)),
        own("index of 100,000 objects, hit", || {
            storages::index_hit(storages::filled_index(100_000))
        }),
        own("index of 100,000 objects, miss", || {
            storages::index_miss(storages::filled_index(100_000))
        }),
        own("store 1 KiB, vote, abort", || storages::vote_and_abort(1 << 10)),
        Counted {
            function: COMMITTER,
            allowed_percent: 2.0 * ALLOWED_PERCENT,
            ..own("commit 1 KiB to a log, the committer's part", || storages::commit(1 << 10))
        },
    ]);
    all
}

struct OfCodec;

impl WithCodec for OfCodec {
    type Out = Vec<Counted>;

    fn call<C: Codec>(self) -> Vec<Counted> {
        let mut sent = vec![messages::load_before(), messages::loaded(KIB), messages::store(KIB)];
        sent.extend(messages::two_phases());
        let mut all = Vec::new();
        for message in sent {
            let (name, same) = (message.name(), message.clone());
            all.push(own(format!("{}: encode {name}", C::NAME), || {
                encodings::encode::<C>(message).expect("every codec has it")
            }));
            all.push(own(format!("{}: decode {name}", C::NAME), || {
                encodings::decode::<C>(same).expect("every codec has it")
            }));
        }
        all.push(own(format!("{}: session answers a load", C::NAME), || sessions::load::<C>(KIB)));
        all
    }
}

/// An operation that is done on the calling thread.
fn own(name: impl Into<String>, prepare: impl FnOnce() -> Operation + 'static) -> Counted {
    Counted {
        name: name.into(),
        function: HERE,
        allowed_percent: ALLOWED_PERCENT,
        prepare: Box::new(prepare),
    }
}

/// Its name is [`HERE`].
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    operation();
}

const HERE: &str = "instructions::counted";
const COMMITTER: &str = "storage::commit::committer::commit";
/// Counts of one thread are the same each time. What two threads allocate and free depends a little on
/// how they take turns: by about 2 %.
const ALLOWED_PERCENT: f64 = 3.0;
const REPEATS: u32 = 1_000;
const KIB: usize = 1 << 10;
