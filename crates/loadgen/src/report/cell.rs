//! The repeats of one point: which of them count, and what they say together.

use std::path::{Path, PathBuf};

use measure::{Histogram, Outcome, Record, Verdict, stats};

use super::load::Source;
use super::quantity::Quantity;

/// The repeats of one point, in their order.
#[derive(Debug, Default)]
pub(super) struct Cell<'a> {
    pub(super) repeats: Vec<&'a Source>,
}

/// A point or file that says nothing of a server.
#[derive(Debug)]
pub(super) struct WithoutResult<'a> {
    pub(super) path: &'a Path,
    /// Absent if it cannot be read.
    pub(super) record: Option<&'a Record>,
    /// `failed`, `invalid`, `measured again` or `unreadable`.
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl<'a> Cell<'a> {
    /// Adds a repeat; of two measurements of the same repeat the later one stays.
    pub(super) fn add(&mut self, source: &'a Source) -> Option<WithoutResult<'a>> {
        let order = |source: &Source| source.record.point.repeat;
        match self.repeats.binary_search_by_key(&order(source), |other| order(other)) {
            Err(place) => {
                self.repeats.insert(place, source);
                None
            }
            Ok(place) => {
                let kept = self.repeats.get_mut(place)?;
                let mut older = source;
                if source.record.began > kept.record.began {
                    std::mem::swap(kept, &mut older);
                }
                Some(WithoutResult {
                    path: &older.path,
                    record: Some(&older.record),
                    kind: "measured again",
                    reason: format!("the later {} is used", kept.path.display()),
                })
            }
        }
    }

    /// What counts, with the number of its repeat.
    pub(super) fn valid(&self) -> impl Iterator<Item = (u32, &'a Outcome)> {
        self.valid_records().map(|record| (record.point.repeat, &record.outcome))
    }

    /// The same, whole.
    pub(super) fn valid_records(&self) -> impl Iterator<Item = &'a Record> {
        let records = self.repeats.iter().map(|source| &source.record);
        records.filter(|record| record.outcome.verdict == Verdict::Valid)
    }

    /// What came of each repeat, whatever it was.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &'a Outcome> {
        self.repeats.iter().map(|source| &source.record.outcome)
    }

    /// What the generator spoilt.
    pub(super) fn invalid(&self) -> impl Iterator<Item = &'a Outcome> {
        self.outcomes().filter(|outcome| matches!(outcome.verdict, Verdict::Invalid(_)))
    }

    pub(super) fn values(&self, quantity: Quantity) -> Vec<f64> {
        self.valid().filter_map(|(_, outcome)| quantity.of(outcome)).collect()
    }

    /// `None` if no repeat is valid.
    pub(super) fn median(&self, quantity: Quantity) -> Option<f64> {
        stats::median(&self.values(quantity))
    }

    /// The 95 % confidence interval of the median; `None` for too few repeats.
    pub(super) fn interval(&self, quantity: Quantity) -> Option<(f64, f64)> {
        let values = self.values(quantity);
        if values.len() < stats::FEWEST_PAIRS {
            return None;
        }
        // A ratio to ones is the thing itself.
        stats::compare(&values, &vec![1.0; values.len()]).map(|compared| compared.interval)
    }

    /// All repeats that count, added.
    pub(super) fn histogram(&self, of: impl Fn(&Outcome) -> &Histogram) -> Histogram {
        let mut sum = Histogram::default();
        self.valid().for_each(|(_, outcome)| sum.add(of(outcome)));
        sum
    }
}

impl<'a> WithoutResult<'a> {
    pub(super) fn unreadable((path, reason): &'a (PathBuf, String)) -> Self {
        Self { path, record: None, kind: "unreadable", reason: reason.clone() }
    }

    /// `None` for a valid point.
    pub(super) fn of(source: &'a Source) -> Option<Self> {
        let (kind, reason) = match &source.record.outcome.verdict {
            Verdict::Valid => return None,
            Verdict::Invalid(reason) => ("invalid", reason.clone()),
            Verdict::Failed(reason) => ("failed", reason.clone()),
        };
        Some(Self { path: &source.path, record: Some(&source.record), kind, reason })
    }
}
