//! Several nodes, a network that loses connections, crashes, pauses, promotions: from a seed.
//!
//! `SIMULATION_SEEDS=10000` tries more; a failure prints the command that repeats it and tells what
//! happens.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod checker;
mod network;
mod node;
mod store;
mod world;

use std::env;

use world::World;

#[test]
fn whatever_happens_there_is_one_history_and_nothing_that_was_answered_is_lost() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let one = number("SIMULATION_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let is_many = seeds.end - seeds.start >= SEEDS;
    let (mut answers, mut takeovers, mut cuts) = (0, 0, 0);
    for seed in seeds {
        let replay = Replay(seed);
        let world = simulate(seed, one.is_some()).unwrap_or_else(|what| panic!("{what}"));
        drop(replay);
        answers += world.answers();
        takeovers += world.takeovers;
        cuts += world.cuts;
    }
    println!("{answers} commits answered, {takeovers} secondaries took over, {cuts} rejoins");
    // A simulation in which nothing happens finds nothing.
    assert!(!is_many || (answers > 10_000 && takeovers > 200 && cuts > 200));
}

fn simulate(seed: u64, tells: bool) -> Result<World, String> {
    let mut world = World::new(seed, tells);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.settle()?;
    Ok(world)
}

/// Says how to repeat what panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIMULATION_SEED={} cargo test -p replication --test simulation", self.0);
        }
    }
}

const SEEDS: u64 = 200;
const STEPS: usize = 1000;
