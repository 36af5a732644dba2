use std::collections::HashSet;

use measure::Histogram;
use proptest::prelude::*;

use super::*;
use crate::workload::Workload;

/// A made-up server: a queue whose waits grow without end as the rate comes near its limit.
#[derive(Clone, Copy, Debug)]
struct Model {
    /// Operations a second.
    limit: f64,
    idle_p99_ms: f64,
    /// What a closed loop reaches, as a share of the limit.
    closed: f64,
    /// The generator can do no more, in operations a second.
    generator: f64,
    /// How much longer the responses of a long run are.
    long_runs: f64,
}

const SERVER: Model = Model {
    limit: 10_000.0,
    idle_p99_ms: 0.2,
    closed: 0.9,
    generator: f64::INFINITY,
    long_runs: 1.0,
};

impl Model {
    fn p99_ms(&self, rate: f64) -> f64 {
        self.idle_p99_ms / (1.0 - rate / self.limit).max(1e-6)
    }

    /// The rate at which p99 is the objective.
    fn knee(&self, p99_ms: f64) -> f64 {
        self.limit * (1.0 - self.idle_p99_ms / p99_ms)
    }

    fn measure(&self, job: &Job) -> Outcome {
        let (rate, p99_ms) = match job.load {
            Loop::Open { rate, .. } => (rate, self.p99_ms(rate)),
            _ => (self.closed * self.limit, self.idle_p99_ms),
        };
        let slower = if job.seconds == SECONDS { self.long_runs } else { 1.0 };
        let mut outcome = point::without_result(Verdict::Valid);
        if rate > self.generator {
            outcome.verdict = Verdict::Invalid("late".to_owned());
        }
        outcome.seconds = job.seconds;
        outcome.operations = (rate * job.seconds).round() as u64;
        outcome.completed = Some((rate.min(self.limit) * job.seconds).round() as u64);
        outcome.response = Histogram::default();
        let lag_ms = if rate > self.generator { 1000.0 } else { 0.0 };
        outcome.response.record(((p99_ms * slower + lag_ms) * 1e6) as u64);
        outcome
    }
}

const SECONDS: f64 = 3.0;

fn job() -> Job {
    Job {
        protocol: "echo".to_owned(),
        tls: None,
        address: String::new(),
        workload: Workload::Connect {},
        connections: 1,
        first_connection: 0,
        all_connections: 1,
        depth: 1,
        load: Loop::Closed,
        cpus: Vec::new(),
        is_sleepless: false,
        warmup_seconds: 0.0,
        seconds: SECONDS,
        drain_seconds: 1.0,
        seed: 0,
    }
}

fn found(p99_ms: f64, mut measure: impl FnMut(&Job) -> Outcome) -> Outcome {
    let mut told = Vec::new();
    let objective = Objective { p99_ms, arrivals: Arrivals::Poisson };
    let outcome =
        search(&job(), objective, &mut measure, &mut |trial: &Trial| told.push(trial.clone()));
    assert_eq!(told, outcome.trials);
    outcome
}

/// What the search says of a rate that passed last, and of the one above it.
#[track_caller]
fn assert_near(outcome: &Outcome, knee: f64) {
    assert_eq!(outcome.verdict, Verdict::Valid);
    let last = outcome.trials.last().unwrap();
    assert_eq!((&last.judgement, last.seconds), (&Judgement::Passed, SECONDS), "it is confirmed");
    let share = last.rate.unwrap() / knee;
    // Histograms keep three digits.
    assert!((1.0 / 1.052..1.002).contains(&share), "{share} of the knee");
}

proptest! {
    #[test]
    fn the_knee_is_found_wherever_it_is(
        limit in 200.0..1e6,
        idle_p99_ms in 0.01..10.0,
        closed in 0.2..2.0,
        // From where hardly anything passes to where nearly everything does.
        slack in 1.02..1e3,
    ) {
        let model = Model { limit, idle_p99_ms, closed, ..SERVER };
        let p99_ms = idle_p99_ms * slack;
        let knee = model.knee(p99_ms);
        prop_assume!(knee > 2.0 * (LOWEST * closed * limit).max(FEWEST));
        let outcome = found(p99_ms, |job| model.measure(job));
        assert_near(&outcome, knee.min(limit / KEEPS_UP));
        prop_assert!(outcome.trials.len() < 40, "{}", outcome.trials.len());
    }

    /// Some runs fail by accident: what is found is lower then, and never too high.
    #[test]
    fn accidents_make_it_no_better(accidents in prop::collection::vec(0..6, 60)) {
        let mut runs = accidents.into_iter();
        let outcome = found(1.0, |job| {
            let mut outcome = SERVER.measure(job);
            if runs.next() == Some(0) {
                outcome.response.record(1_000_000_000);
                outcome.response.record(1_000_000_000);
            }
            outcome
        });
        prop_assert!(outcome.rate() <= SERVER.knee(1.0) * 1.002);
    }
}

#[test]
fn one_accident_at_each_rate_changes_nothing() {
    let mut tried = HashSet::new();
    let outcome = found(1.0, |job| {
        let mut outcome = SERVER.measure(job);
        if let Loop::Open { rate, .. } = job.load
            && tried.insert(rate.to_bits())
        {
            outcome.response.record(1_000_000_000);
            outcome.verdict = Verdict::Invalid("late".to_owned());
        }
        outcome
    });
    assert_near(&outcome, SERVER.knee(1.0));
}

#[test]
fn a_rate_that_is_not_confirmed_is_lowered_until_one_is() {
    // The knee of long runs is 12 % below that of short ones.
    let model = Model { long_runs: 1.5, ..SERVER };
    let outcome = found(1.0, |job| model.measure(job));
    assert_eq!(outcome.verdict, Verdict::Valid);
    let knee = model.knee(1.0 / 1.5);
    assert!((0.85 * knee..1.002 * knee).contains(&outcome.rate()), "{}", outcome.rate());
    let confirming: Vec<_> =
        outcome.trials.iter().filter(|trial| trial.seconds == SECONDS).collect();
    assert!(confirming.len() > 1);
    assert!(confirming.is_sorted_by(|a, b| a.rate > b.rate));
}

#[test]
fn what_is_never_confirmed_is_no_result() {
    let model = Model { long_runs: 1e6, ..SERVER };
    let outcome = found(1.0, |job| model.measure(job));
    let Verdict::Invalid(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.contains("no rate was confirmed") && why.contains("too slow"), "{why}");
    let confirming = outcome.trials.iter().filter(|trial| trial.seconds == SECONDS);
    assert_eq!(confirming.count(), CONFIRMATIONS as usize);
}

#[test]
fn no_rate_at_all_is_a_result() {
    let outcome = found(0.1, |job| SERVER.measure(job));
    assert_eq!((outcome.verdict, outcome.operations), (Verdict::Valid, 0));
    assert!(outcome.trials.iter().skip(1).all(|trial| trial.judgement == Judgement::TooSlow));
}

/// The generator ends before the server does: the rate that it reached is told, and no result.
#[test]
fn a_limit_of_the_generator_is_not_the_servers() {
    let model = Model { generator: 5_000.0, ..SERVER };
    let outcome = found(1.0, |job| model.measure(job));
    let Verdict::Invalid(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.contains("limited by the generator: late"), "{why}");
    assert!((4_700.0..5_001.0).contains(&outcome.rate()), "{}", outcome.rate());
    // Where the server ends first it does not matter.
    let model = Model { generator: 8_200.0, ..SERVER };
    assert_near(&found(1.0, |job| model.measure(job)), SERVER.knee(1.0));
    let model = Model { generator: 0.0, ..SERVER };
    let outcome = found(1.0, |job| model.measure(job));
    let Verdict::Invalid(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.contains("the lowest rate"), "{why}");
}

/// A generator that is late where the objective is met all the same takes nothing from that.
#[test]
fn what_passes_with_a_late_generator_passes() {
    let outcome = found(1.0, |job| {
        let mut outcome = SERVER.measure(job);
        if outcome.rate() < 7_000.0 {
            outcome.verdict = Verdict::Invalid("late".to_owned());
        }
        outcome
    });
    assert_near(&outcome, SERVER.knee(1.0));
}

/// A server that answers all it can within the objective, and puts off the rest.
#[test]
fn who_falls_behind_does_not_pass() {
    let outcome = found(1e9, |job| Model { idle_p99_ms: 1e-3, ..SERVER }.measure(job));
    assert_near(&outcome, SERVER.limit / KEEPS_UP);
    let behind = |trial: &Trial| trial.judgement == Judgement::Behind;
    assert!(outcome.trials.iter().any(behind));
}

#[test]
fn a_failure_ends_it_and_says_where() {
    let mut left = 3;
    let outcome = found(1.0, |job| {
        left -= 1;
        let mut outcome = SERVER.measure(job);
        if left == 0 {
            outcome.verdict = Verdict::Failed("wrong bytes".to_owned());
        }
        outcome
    });
    assert_eq!(left, 0);
    let Verdict::Failed(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.starts_with("at ") && why.ends_with("/s: wrong bytes"), "{why}");
    assert_eq!(outcome.trials.len(), 2);
}
