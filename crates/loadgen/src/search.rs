//! The search for the highest rate that meets an objective: bracket, bisect, confirm.
//!
//! A closed loop shows about where the server ends. From there open loops go up or down until one
//! meets the objective and a faster one does not; then what is between is halved, and a longer run of
//! its own confirms what was found.
//!
//! A generator that is late makes responses longer, and never shorter. So a run that meets the
//! objective has met it, and only what was missed may be the generator's fault: where that ends the
//! search, the result is invalid.

use measure::{Arrivals, Judgement, Loop, Outcome, Trial, Verdict};

use crate::control::Job;
use crate::point;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Objective {
    /// 99 % of the responses are within so many milliseconds.
    pub(crate) p99_ms: f64,
    pub(crate) arrivals: Arrivals,
}

/// A search that goes on. Rates are operations a second.
struct Search<'a> {
    /// With the length of the run that confirms.
    job: &'a Job,
    objective: Objective,
    measure: &'a mut dyn FnMut(&Job) -> Outcome,
    tell: &'a mut dyn FnMut(&Trial),
    trials: Vec<Trial>,
}

/// A rate that did not pass, or the outcome that ends the search at once.
type Tried<T> = Result<T, Box<Outcome>>;

/// Open loops often end before a closed one does.
const FIRST: f64 = 0.7;

/// Steps until there is a bracket, as factors, and how many there may be upwards.
const UP: f64 = 1.3;
const DOWN: f64 = 0.5;
const STEPS_UP: usize = 20;

/// A rate that is missed so often is given up.
const TRIALS: u32 = 2;

/// The ends of the bracket may be so far apart: rates repeat no better.
const RESOLUTION: f64 = 0.05;

/// What a server does not do at this share of the ceiling it does at no rate.
const LOWEST: f64 = 0.002;

/// Of fewer operations in a trial a percentile says nothing.
const FEWEST: f64 = 50.0;

/// So many runs that confirm may fail before the search gives up; after each of them the rate is
/// lowered, twice as far as before.
const CONFIRMATIONS: i32 = 4;

/// A run that confirms is so much longer than the others.
const CONFIRMING: f64 = 3.0;

/// Answers in the counted time as a share of the arrivals, for a server that keeps up.
const KEEPS_UP: f64 = 0.98;

/// Searches with runs of `measure`, and tells of each. What comes is the outcome of the run that
/// confirmed the highest rate; without operations if no rate meets the objective.
pub(crate) fn search(
    job: &Job,
    objective: Objective,
    measure: &mut dyn FnMut(&Job) -> Outcome,
    tell: &mut dyn FnMut(&Trial),
) -> Outcome {
    let mut search = Search { job, objective, measure, tell, trials: Vec::new() };
    let mut outcome = match search.find() {
        Ok(outcome) => outcome,
        Err(ended) => *ended,
    };
    outcome.trials = search.trials;
    outcome
}

impl Search<'_> {
    fn find(&mut self) -> Tried<Outcome> {
        let ceiling = self.run(Loop::Closed, self.trial_seconds())?.rate();
        let (mut low, (mut high, mut why)) = self.bracket(ceiling)?;
        while high > low * (1.0 + RESOLUTION) {
            let middle = (low * high).sqrt();
            match self.missed(middle)? {
                None => low = middle,
                Some(missed) => (high, why) = (middle, missed),
            }
        }
        for number in 0..CONFIRMATIONS {
            let (outcome, judgement) = self.open(low, self.job.seconds)?;
            if judgement == Judgement::Passed {
                return Ok(confirmed(outcome, low, why));
            }
            (high, why) = (low, judgement);
            low = high / (1.0 + RESOLUTION * f64::from(1 << number));
        }
        let text = format!("no rate was confirmed: the last run, of {high:.0}/s, {}", said(&why));
        Err(Box::new(point::without_result(Verdict::Invalid(text))))
    }

    /// A rate that passes, and a higher one that does not, with what was wrong with it.
    fn bracket(&mut self, ceiling: f64) -> Tried<(f64, (f64, Judgement))> {
        let mut rate = FIRST * ceiling;
        let Some(mut why) = self.missed(rate)? else {
            for _ in 0..STEPS_UP {
                let low = rate;
                rate *= UP;
                if let Some(why) = self.missed(rate)? {
                    return Ok((low, (rate, why)));
                }
            }
            let text = format!("even {rate:.0}/s met the objective, and more was not tried");
            return Err(Box::new(point::without_result(Verdict::Invalid(text))));
        };
        let lowest = (LOWEST * ceiling).max(FEWEST / self.trial_seconds());
        while rate * DOWN >= lowest {
            let high = rate;
            rate *= DOWN;
            match self.missed(rate)? {
                None => return Ok((rate, (high, why))),
                Some(missed) => why = missed,
            }
        }
        let verdict = match why {
            Judgement::Invalid(_) => {
                Verdict::Invalid(format!("the lowest rate, {rate:.0}/s, {}", said(&why)))
            }
            _ => Verdict::Valid,
        };
        Err(Box::new(point::without_result(verdict)))
    }

    /// Why two trials did not meet the objective, if they did not. One may be an accident of the
    /// machine, and half of what can be reached would be given up for it.
    fn missed(&mut self, rate: f64) -> Tried<Option<Judgement>> {
        let mut missed = None;
        for _ in 0..TRIALS {
            let (_, judgement) = self.open(rate, self.trial_seconds())?;
            if judgement == Judgement::Passed {
                return Ok(None);
            }
            missed = Some(judgement);
        }
        Ok(missed)
    }

    fn open(&mut self, rate: f64, seconds: f64) -> Tried<(Outcome, Judgement)> {
        let load = Loop::Open { rate, arrivals: self.objective.arrivals };
        let outcome = self.run(load, seconds)?;
        let judgement = judge(&outcome, self.objective);
        Ok((outcome, judgement))
    }

    /// One run, which is told of; what fails ends the search.
    fn run(&mut self, load: Loop, seconds: f64) -> Tried<Outcome> {
        // Runs of equal schedules would find equal accidents.
        let seed = self.job.seed ^ ((self.trials.len() as u64) << 32);
        let outcome = (self.measure)(&Job { load, seconds, seed, ..self.job.clone() });
        let (rate, judgement) = match load {
            Loop::Open { rate, .. } => (Some(rate), judge(&outcome, self.objective)),
            Loop::Closed | Loop::Search { .. } => (None, Judgement::Probe),
        };
        if let Verdict::Failed(why) = &outcome.verdict {
            let what = rate
                .map_or_else(|| "in the closed loop".to_owned(), |rate| format!("at {rate:.0}/s"));
            let verdict = Verdict::Failed(format!("{what}: {why}"));
            return Err(Box::new(Outcome { verdict, ..outcome }));
        }
        let trial = Trial {
            rate,
            seconds,
            achieved: outcome.rate(),
            p50_ns: outcome.response.quantile_ns(0.5),
            p99_ns: outcome.response.quantile_ns(0.99),
            lag_p99_ns: outcome.lag.quantile_ns(0.99),
            judgement,
        };
        (self.tell)(&trial);
        self.trials.push(trial);
        Ok(outcome)
    }

    fn trial_seconds(&self) -> f64 {
        self.job.seconds / CONFIRMING
    }
}

fn judge(outcome: &Outcome, objective: Objective) -> Judgement {
    let is_within = outcome.response.quantile_ns(0.99) as f64 <= objective.p99_ms * 1e6;
    let keeps_up = outcome.answered() as f64 >= KEEPS_UP * outcome.operations as f64;
    match &outcome.verdict {
        _ if is_within && keeps_up => Judgement::Passed,
        Verdict::Invalid(why) => Judgement::Invalid(why.clone()),
        _ if is_within => Judgement::Behind,
        _ => Judgement::TooSlow,
    }
}

/// The outcome of the run that confirmed `low`; `why` is what was wrong with a higher rate.
fn confirmed(outcome: Outcome, low: f64, why: Judgement) -> Outcome {
    let verdict = match why {
        Judgement::Invalid(_) => Verdict::Invalid(format!(
            "the server meets the objective at {low:.0}/s, and a higher rate {}",
            said(&why)
        )),
        _ => Verdict::Valid,
    };
    Outcome { verdict, ..outcome }
}

/// For people, after the rate.
pub(crate) fn said(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Passed => "passed".to_owned(),
        Judgement::TooSlow => "was too slow".to_owned(),
        Judgement::Behind => "was more than what was answered".to_owned(),
        Judgement::Invalid(why) => format!("was limited by the generator: {why}"),
        Judgement::Probe => "was the closed loop".to_owned(),
    }
}

#[cfg(test)]
mod tests;
