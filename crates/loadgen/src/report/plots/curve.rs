//! One quantity of one variant over several conditions.

use measure::{Outcome, stats};

use super::Mark;
use crate::report::cell::Cell;
use crate::report::group::Condition;
use crate::report::quantity::Quantity;

/// Medians joined by a line, their confidence band, each repeat, and what is invalid.
pub(super) fn curve<'a>(
    cells: impl Iterator<Item = (Condition, &'a Cell<'a>)>,
    x: impl Fn(Condition, &Outcome) -> Option<f64>,
    y: Quantity,
) -> Vec<Mark> {
    let (mut repeats, mut line, mut band) = (Vec::new(), Vec::new(), Vec::new());
    for (condition, cell) in cells {
        let at = |outcome: &Outcome| x(condition, outcome).zip(y.of(outcome));
        repeats.extend(cell.invalid().filter_map(at).map(Mark::Invalid));
        let valid: Vec<_> = cell.valid().filter_map(|(_, outcome)| at(outcome)).collect();
        let xs: Vec<_> = valid.iter().map(|(x, _)| *x).collect();
        let Some((x, y_median)) = stats::median(&xs).zip(cell.median(y)) else { continue };
        line.push((x, y_median));
        band.extend(cell.interval(y).map(|(low, high)| (x, low, high)));
        if valid.len() > 1 {
            repeats.extend(valid.into_iter().map(Mark::Repeat));
        }
    }
    let mut marks = Vec::new();
    let points: Vec<_> = line.iter().copied().map(Mark::Point).collect();
    marks.extend((!band.is_empty()).then_some(Mark::Band(band)));
    marks.extend((line.len() > 1).then_some(Mark::Line(line)));
    marks.extend(repeats);
    marks.extend(points);
    marks
}
