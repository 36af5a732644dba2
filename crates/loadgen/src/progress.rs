//! What is seen while points are measured: a line each, which changes on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use measure::{Loop, Outcome, Profile, Trial, Verdict};

use crate::scenario::Task;
use crate::search;

/// What is seen while a point is measured.
pub(crate) struct Progress {
    head: String,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(number: usize, count: usize, began: Instant, task: &Task) -> Self {
        let point = &task.point;
        let minutes = began.elapsed().as_secs() / 60;
        let seconds = began.elapsed().as_secs() % 60;
        let head = format!(
            "[{:>3}/{count} {minutes}:{seconds:02}] {:<24} {:<20} c={:<5} d={:<3} {:<10}",
            number + 1,
            format!("{}-{}", point.server, point.protocol),
            point.workload,
            point.connections,
            point.depth,
            match point.load {
                Loop::Closed => "closed".to_owned(),
                Loop::Open { rate, .. } => format!("{rate}/s"),
                Loop::Search { p99_ms, .. } => format!("p99 {p99_ms} ms"),
            },
        );
        let progress = Self { head, terminal: std::io::stdout().is_terminal() };
        progress.show("...");
        progress
    }

    fn show(&self, text: &str) {
        if self.terminal {
            print!("\r\x1b[2K{} {text}", self.head);
            // Progress that cannot be shown is not worth an end.
            _ = std::io::stdout().flush();
        }
    }

    pub(crate) fn tried(&self, trial: &Trial) {
        self.show(&tried(trial));
    }

    pub(crate) fn tell(&self, second: &measure::Histogram) {
        self.show(&format!("{} in the last second", second.count()));
    }

    pub(crate) fn looked(self, profile: &anyhow::Result<Profile>) {
        let text = match profile {
            Ok(profile) => {
                let most = profile.cpu_us().into_iter().take(3);
                let most: Vec<_> = most.map(|(area, us)| format!("{area} {us:.2}")).collect();
                let calls: f64 = profile.system_calls.values().sum();
                format!("{calls:.2} system calls/op; us/op: {}", most.join(", "))
            }
            Err(error) => format!("NO PROFILE: {error:#}"),
        };
        self.print(&text);
    }

    pub(crate) fn end(self, outcome: &Outcome) {
        let text = match &outcome.verdict {
            Verdict::Failed(why) => format!("FAILED: {why}"),
            Verdict::Valid if outcome.operations == 0 => "no rate meets the objective".to_owned(),
            Verdict::Invalid(why) if outcome.operations == 0 => format!("INVALID: {why}"),
            verdict => format!(
                "{:>9.0}/s  {}  server {:>6.2} us/op{}",
                outcome.rate(),
                latencies(outcome),
                outcome.server_cpu_us(),
                match verdict {
                    Verdict::Invalid(why) => format!("  INVALID: {why}"),
                    _ => String::new(),
                }
            ),
        };
        self.print(&text);
    }

    fn print(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        println!("{clear}{} {text}", self.head);
    }
}

/// A run of a search, for people.
pub(crate) fn tried(trial: &Trial) -> String {
    let rate = trial.rate.unwrap_or(trial.achieved);
    format!("{rate:>9.0}/s {}, p99 {}", search::said(&trial.judgement), duration(trial.p99_ns))
}

fn latencies(outcome: &Outcome) -> String {
    match outcome.mean_ns() {
        Some(mean_ns) => format!("mean {:>8} {:13}", duration(mean_ns as u64), ""),
        None => format!(
            "p50 {:>8}  p99 {:>8}",
            duration(outcome.response.quantile_ns(0.5)),
            duration(outcome.response.quantile_ns(0.99)),
        ),
    }
}

/// For people.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.2} us", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} us", ns as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}
