//! What is compared and shown of a point.

use measure::{Effect, Outcome};

use super::numbers;

/// A number that an outcome has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Operations a second.
    Rate,
    /// A percentile of the responses, in nanoseconds.
    P50,
    P99,
    P999,
    /// The mean time of an operation, in nanoseconds, where nothing more is known of it.
    Mean,
    /// The server's CPU time for an operation, in microseconds.
    ServerCpu,
    /// The clients', likewise.
    GeneratorCpu,
    /// Sent and received for an operation.
    Bytes,
}

use Quantity::{Bytes, GeneratorCpu, Mean, P50, P99, P999, Rate, ServerCpu};

/// What is shown of a point.
pub(super) const SHOWN: [Quantity; 7] = [Rate, P50, P99, P999, Mean, ServerCpu, Bytes];

/// What a comparison looks at.
pub(super) const COMPARED: [Quantity; 4] = [Rate, P50, P99, ServerCpu];

impl Quantity {
    /// `None` if the outcome does not tell, or nothing was done of which it could.
    pub(super) fn of(self, outcome: &Outcome) -> Option<f64> {
        if self != Rate && outcome.operations == 0 {
            return None;
        }
        let quantile = |share| {
            let responses = &outcome.response;
            (responses.count() > 0).then(|| responses.quantile_ns(share) as f64)
        };
        match self {
            Rate => Some(outcome.rate()),
            P50 => quantile(0.5),
            P99 => quantile(0.99),
            P999 => quantile(0.999),
            Mean => outcome.mean_ns(),
            ServerCpu => Some(outcome.server_cpu_us()),
            GeneratorCpu => Some(outcome.generator_cpu_us()),
            Bytes => {
                let sum = outcome.bytes.0 + outcome.bytes.1;
                (sum > 0).then(|| bytes_per_operation(outcome, sum))
            }
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Rate => "operations/s",
            P50 => "p50",
            P99 => "p99",
            P999 => "p99.9",
            Mean => "mean",
            ServerCpu => "server CPU/op",
            GeneratorCpu => "generator CPU/op",
            Bytes => "bytes/op",
        }
    }

    pub(super) fn format(self, value: f64) -> String {
        match self {
            Rate => numbers::count(value),
            P50 | P99 | P999 | Mean => numbers::duration(value),
            ServerCpu | GeneratorCpu => numbers::duration(value * 1000.0),
            Bytes => numbers::bytes(value),
        }
    }

    /// The verdict on A, in a word.
    pub(super) fn verdict(self, effect: Effect) -> &'static str {
        match (self, effect) {
            (_, Effect::Same) => "same within 2 %",
            (_, Effect::Unsure) => "not clear",
            (Rate, Effect::Larger) | (P50 | P99 | P999 | Mean, Effect::Smaller) => "faster",
            (Rate, Effect::Smaller) | (P50 | P99 | P999 | Mean, Effect::Larger) => "slower",
            (ServerCpu | GeneratorCpu | Bytes, Effect::Smaller) => "cheaper",
            (ServerCpu | GeneratorCpu | Bytes, Effect::Larger) => "dearer",
        }
    }

    /// Whether the effect is good for A, bad for it, or neither.
    pub(super) fn is_good(self, effect: Effect) -> Option<bool> {
        match effect {
            Effect::Same | Effect::Unsure => None,
            Effect::Larger => Some(self == Rate),
            Effect::Smaller => Some(self != Rate),
        }
    }
}

pub(super) fn bytes_per_operation(outcome: &Outcome, bytes: u64) -> f64 {
    bytes as f64 / outcome.answered().max(1) as f64
}
