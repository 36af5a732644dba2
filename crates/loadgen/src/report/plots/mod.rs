//! What is drawn, apart from how: each plot is some marks for each variant over two axes.

mod axis;
mod cost;
mod curve;
mod draw;
mod latency;
mod percentiles;
mod scaling;
mod search;
mod time;

use axis::Axis;

use super::group::VariantId;

pub(super) use cost::{both, bytes, cpu};
pub(super) use draw::draw;
pub(super) use latency::latencies;
pub(super) use percentiles::percentiles;
pub(super) use scaling::scaling;
pub(super) use search::{highest, trials};
pub(super) use time::over_time;

/// A plot in its own coordinates.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// What it shows; stands above it.
    pub(super) title: String,
    kind: Kind,
    /// What the values of an upright axis are held against.
    limit: Option<f64>,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
enum Kind {
    Curves {
        x: Axis,
        y: Axis,
    },
    /// A bar for each variant, its text above it.
    Bars,
}

/// The marks of one variant.
#[derive(Clone, Debug)]
struct Layer {
    variant: VariantId,
    name: String,
    marks: Vec<Mark>,
}

type At = (f64, f64);

#[derive(Clone, Debug, PartialEq)]
enum Mark {
    /// The medians.
    Line(Vec<At>),
    /// What stands behind: one of several repeats, or the service time.
    Thin(Vec<At>),
    /// A confidence band: x, and y from and to.
    Band(Vec<(f64, f64, f64)>),
    /// A median.
    Point(At),
    /// One repeat.
    Repeat(At),
    /// A repeat that is no result: the generator was the bottleneck.
    Invalid(At),
    /// Parts of a bar, as shares of the longest one, and its text.
    Bar { parts: Vec<f64>, text: String },
}

impl Plot {
    /// A plot with axes that hold all marks; `None` if there is nothing to draw.
    fn curves(
        title: String,
        layers: Vec<Layer>,
        x: impl FnOnce(&[f64]) -> Axis,
        y: impl FnOnce(&[f64]) -> Axis,
    ) -> Option<Self> {
        let layers: Vec<_> = layers.into_iter().filter(|layer| !layer.marks.is_empty()).collect();
        if layers.is_empty() {
            return None;
        }
        let marks = layers.iter().flat_map(|layer| &layer.marks);
        let (xs, ys): (Vec<f64>, Vec<f64>) = marks.flat_map(Mark::extent).unzip();
        Some(Self { title, kind: Kind::Curves { x: x(&xs), y: y(&ys) }, limit: None, layers })
    }
}

impl Mark {
    fn extent(&self) -> Vec<At> {
        match self {
            Self::Line(points) | Self::Thin(points) => points.clone(),
            Self::Band(band) => {
                band.iter().flat_map(|(x, low, high)| [(*x, *low), (*x, *high)]).collect()
            }
            Self::Point(at) | Self::Repeat(at) | Self::Invalid(at) => vec![*at],
            Self::Bar { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
