//! Draws a plot as SVG: shapes by plotters, in a group for each variant whose colour the page's
//! style gives; texts placed here, so that none is clipped and none covers another.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, Cross, PathElement, Polygon, Rectangle, TriangleMarker};
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Color as _, IntoDrawingArea as _, RGBColor,
    SVGBackend, ShapeStyle,
};

use super::axis::Axis;
use super::{Kind, Layer, Mark, Plot};
use crate::report::page::{escape, variant_class};

/// The plot, without its title.
pub(in crate::report) fn draw(plot: &Plot) -> Result<String> {
    match &plot.kind {
        Kind::Curves { x, y } => curves(plot, x, y),
        Kind::Bars => bars(plot),
    }
}

/// Sizes in units of the SVG's view box. Texts are at most [`TEXT`] high; a phone shows them at
/// some three quarters of that.
const WIDTH: u32 = 460;
const HEIGHT: u32 = 320;
const LEFT: u32 = 62;
const RIGHT: u32 = 14;
const TOP: u32 = 28;
const BOTTOM: u32 = 48;
const TEXT: f64 = 14.0;
const LINE: u32 = 21;
const BAR: u32 = 21;
/// Plotters knows whole pixels only, so it draws so much larger.
const SCALE: u32 = 4;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn curves(plot: &Plot, x: &Axis, y: &Axis) -> Result<String> {
    let mut svg = opening(plot, HEIGHT);
    let frame = Frame { height: HEIGHT, left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };
    let grid = frame.shapes(|chart| grid(chart, x, y))?;
    write!(svg, "<g class=\"grid\">{grid}</g>")?;
    if let Some(limit) = plot.limit.map(|limit| y.place(limit)) {
        let ends = vec![(0.0, limit), (1.0, limit)];
        let shapes = frame.shapes(|chart| {
            chart.draw_series([PathElement::new(ends, line(1.5))])?;
            Ok(())
        })?;
        write!(svg, "<g class=\"limit\">{shapes}</g>")?;
    }
    texts(&mut svg, x, y)?;
    let place = |(at_x, at_y): (f64, f64)| (x.place(at_x), y.place(at_y));
    for layer in &plot.layers {
        let shapes = frame.shapes(|chart| {
            layer.marks.iter().try_for_each(|mark| draw_mark(chart, mark, layer.variant, &place))
        })?;
        write!(svg, "{}{shapes}</g>", group(layer))?;
    }
    svg.push_str("</svg>");
    Ok(svg)
}

fn bars(plot: &Plot) -> Result<String> {
    let rows = plot.layers.iter().filter_map(|layer| match layer.marks.first() {
        Some(Mark::Bar { parts, text }) => Some((layer, parts, text)),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    let is_wide = |layer: &Layer, text: &str| {
        width_of(&shortened(&layer.name)) + width_of(text) > f64::from(WIDTH)
    };
    // Where a name and a text do not fit into one line, all texts have a second one.
    let lines = if rows.iter().any(|(layer, _, text)| is_wide(layer, text)) { 2 } else { 1 };
    let row_height = lines * LINE + BAR;
    let height = rows.len() as u32 * row_height;
    let frame = Frame { height, left: 1, right: 1, top: 0, bottom: 0 };
    let mut svg = opening(plot, height);
    for (row, (layer, parts, text)) in rows.into_iter().enumerate() {
        let top = row as u32 * row_height;
        write!(
            svg,
            "{}<text class=\"name\" x=\"1\" y=\"{}\">{}</text>\
             <text text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            group(layer),
            top + LINE - 6,
            escape(&shortened(&layer.name)),
            WIDTH - 1,
            top + lines * LINE - 6,
            escape(text)
        )?;
        let share = |units: u32| 1.0 - f64::from(units) / f64::from(height);
        let (above, below) = (share(top + lines * LINE), share(top + row_height - BAR / 3));
        let shapes = frame.shapes(|chart| {
            let mut from = 0.0;
            for (index, part) in parts.iter().enumerate() {
                // The second part is paler.
                let style = if index == 0 { ink().filled() } else { ink().mix(0.45).filled() };
                chart
                    .draw_series([Rectangle::new([(from, above), (from + part, below)], style)])?;
                from += part;
            }
            Ok(())
        })?;
        write!(svg, "{shapes}</g>")?;
    }
    svg.push_str("</svg>");
    Ok(svg)
}

/// A name that fits into one line.
fn shortened(name: &str) -> String {
    let fitting = (f64::from(WIDTH) / width_of("x")) as usize;
    if name.chars().count() <= fitting {
        return name.to_owned();
    }
    name.chars().take(fitting - 1).chain(['…']).collect()
}

fn opening(plot: &Plot, height: u32) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(&plot.title)
    )
}

/// The group of a variant, in which the page's style gives the colour.
fn group(layer: &Layer) -> String {
    format!(
        "<g class=\"{}\" data-variant=\"{}\"><title>{}</title>",
        variant_class(layer.variant),
        layer.variant,
        escape(&layer.name)
    )
}

/// The margins around what is drawn.
struct Frame {
    height: u32,
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
}

impl Frame {
    /// What plotters draws in shares of the frame, as SVG elements.
    fn shapes(
        &self,
        draw: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), Failed>,
    ) -> Result<String> {
        let mut text = String::new();
        {
            let size = (WIDTH * SCALE, self.height * SCALE);
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            let chart = ChartBuilder::on(&area)
                .margin_left(self.left * SCALE)
                .margin_right(self.right * SCALE)
                .margin_top(self.top * SCALE)
                .margin_bottom(self.bottom * SCALE)
                .build_cartesian_2d(0.0..1.0, 0.0..1.0)
                .and_then(|mut chart| draw(&mut chart).map(|()| chart))
                .map_err(|error| anyhow!("cannot draw: {error}"))?;
            chart.plotting_area().present().map_err(|error| anyhow!("cannot draw: {error}"))?;
        }
        // Only the elements are wanted: they go into the SVG of the plot.
        let inner = text.split_once('>').map_or("", |(_, rest)| rest);
        let inner = inner.trim_end().trim_end_matches("</svg>").trim();
        Ok(format!("<g transform=\"scale({})\">{inner}</g>", 1.0 / f64::from(SCALE)))
    }
}

type Failed = plotters::drawing::DrawingAreaErrorKind<std::io::Error>;

/// A colour for viewers that know no style sheets; in the page each variant has its own.
fn ink() -> RGBColor {
    RGBColor(110, 110, 110)
}

fn line(width: f64) -> ShapeStyle {
    ink().stroke_width((width * f64::from(SCALE)).round() as u32)
}

fn grid(chart: &mut Chart<'_, '_>, x: &Axis, y: &Axis) -> Result<(), Failed> {
    let vertical = x.ticks.iter().map(|(at, _)| x.place(*at)).map(|at| vec![(at, 0.0), (at, 1.0)]);
    let horizontal =
        y.ticks.iter().map(|(at, _)| y.place(*at)).map(|at| vec![(0.0, at), (1.0, at)]);
    chart.draw_series(vertical.chain(horizontal).map(|ends| PathElement::new(ends, line(0.75))))?;
    Ok(())
}

fn draw_mark(
    chart: &mut Chart<'_, '_>,
    mark: &Mark,
    variant: usize,
    place: &impl Fn((f64, f64)) -> (f64, f64),
) -> Result<(), Failed> {
    let path = |points: &[(f64, f64)]| points.iter().map(|at| place(*at)).collect::<Vec<_>>();
    match mark {
        Mark::Line(points) => {
            chart.draw_series([PathElement::new(path(points), line(2.0))])?;
        }
        Mark::Thin(points) => {
            chart.draw_series([PathElement::new(
                path(points),
                ink().mix(0.45).stroke_width(SCALE),
            )])?;
        }
        Mark::Band(band) => {
            let there = band.iter().map(|(x, low, _)| place((*x, *low)));
            let back = band.iter().rev().map(|(x, _, high)| place((*x, *high)));
            let outline: Vec<_> = there.chain(back).collect();
            // A band of one point has no width; its ends are joined by a line.
            chart.draw_series([Polygon::new(outline.clone(), ink().mix(0.18))])?;
            if let [low, high] = outline[..] {
                chart.draw_series([PathElement::new(vec![low, high], line(1.5))])?;
            }
        }
        Mark::Point(at) => point(chart, place(*at), variant)?,
        Mark::Repeat(at) => {
            chart.draw_series([Circle::new(place(*at), size(2.0), ink().mix(0.55).filled())])?;
        }
        Mark::Invalid(at) => {
            chart.draw_series([Cross::new(place(*at), size(4.0), line(1.5))])?;
        }
        Mark::Bar { .. } => {}
    }
    Ok(())
}

/// A median; neighbours differ in shape too, for those who cannot tell their colours.
fn point(chart: &mut Chart<'_, '_>, (x, y): (f64, f64), variant: usize) -> Result<(), Failed> {
    match variant % 3 {
        0 => chart.draw_series([Circle::new((x, y), size(3.5), ink().filled())])?,
        1 => chart.draw_series([TriangleMarker::new((x, y), size(4.5), ink().filled())])?,
        _ => {
            let dx = 3.0 / f64::from(WIDTH - LEFT - RIGHT);
            let dy = 3.0 / f64::from(HEIGHT - TOP - BOTTOM);
            let corners = [(x - dx, y + dy), (x + dx, y - dy)];
            chart.draw_series([Rectangle::new(corners, ink().filled())])?
        }
    };
    Ok(())
}

/// In plotters' pixels.
fn size(units: f64) -> i32 {
    (units * f64::from(SCALE)) as i32
}

/// The marks' texts and the names of both axes. Of marks too near to each other the later is left
/// out.
fn texts(svg: &mut String, x: &Axis, y: &Axis) -> Result<()> {
    let plot_width = f64::from(WIDTH - LEFT - RIGHT);
    let plot_height = f64::from(HEIGHT - TOP - BOTTOM);
    let mut free_from = 0.0;
    for (value, text) in &x.ticks {
        let width = width_of(text);
        let middle = f64::from(LEFT) + x.place(*value) * plot_width;
        // The last one moves inwards rather than be clipped.
        let middle = middle.min(f64::from(WIDTH) - width / 2.0);
        if middle - width / 2.0 < free_from {
            continue;
        }
        free_from = middle + width / 2.0 + TEXT / 2.0;
        let baseline = f64::from(HEIGHT - BOTTOM) + TEXT + 6.0;
        write!(
            svg,
            "<text class=\"tick\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{baseline:.1}\">{}</text>",
            escape(text)
        )?;
    }
    let mut free_below = f64::INFINITY;
    for (value, text) in &y.ticks {
        let middle = f64::from(TOP) + (1.0 - y.place(*value)) * plot_height;
        if middle + TEXT * 0.6 > free_below {
            continue;
        }
        free_below = middle - TEXT * 0.6;
        write!(
            svg,
            "<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 6,
            middle + TEXT * 0.35,
            escape(text)
        )?;
    }
    write!(
        svg,
        "<text class=\"axis\" x=\"0\" y=\"{TEXT}\">{}</text>\
         <text class=\"axis\" text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>",
        escape(&y.label),
        WIDTH - RIGHT,
        HEIGHT - 6,
        escape(&x.label)
    )?;
    Ok(())
}

/// How wide a text is at most, in the fonts that pages use.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT * 0.66
}
