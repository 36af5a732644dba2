//! Tables. Each cell that is a number carries it, so that columns can be sorted.

use std::collections::BTreeSet;

use measure::Outcome;

use super::super::cell::Cell;
use super::super::costs;
use super::super::difference::{Difference, difference};
use super::super::group::{Condition, Groups, Section};
use super::super::numbers;
use super::super::quantity::{COMPARED, Quantity, SHOWN};
use super::super::{Report, words};
use super::{escape, push, variant_class};

/// A table that is filled row by row.
pub(super) struct Table<'a> {
    html: &'a mut String,
}

impl<'a> Table<'a> {
    pub(super) fn begin(html: &'a mut String, columns: &[&str]) -> Self {
        html.push_str("<div class=\"scroll\"><table class=\"sortable\">\n<thead><tr>");
        for column in columns {
            push(html, format_args!("<th scope=\"col\"><button>{}</button></th>", escape(column)));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        Self { html }
    }

    pub(super) fn row(&mut self, variant: Option<usize>) {
        match variant {
            Some(variant) => push(self.html, format_args!("<tr data-variant=\"{variant}\">")),
            None => self.html.push_str("<tr>"),
        }
    }

    pub(super) fn end_row(&mut self) {
        self.html.push_str("</tr>\n");
    }

    pub(super) fn text(&mut self, text: &str) {
        push(self.html, format_args!("<td>{}</td>", escape(text)));
    }

    /// Text with an explanation below it.
    pub(super) fn noted(&mut self, text: &str, note: &str) {
        let (text, note) = (escape(text), escape(note));
        push(self.html, format_args!("<td>{text}<small>{note}</small></td>"));
    }

    pub(super) fn judged(&mut self, text: &str, good: Option<bool>) {
        let (class, text) = (class_of(good), escape(text));
        push(self.html, format_args!("<td><span class=\"{class}\">{text}</span></td>"));
    }

    pub(super) fn variant(&mut self, groups: &Groups<'_>, variant: usize) {
        let (class, name) = (variant_class(variant), escape(&groups.name(variant)));
        push(
            self.html,
            format_args!(
                "<td class=\"variant {class}\"><span class=\"swatch\">■</span>{name}</td>"
            ),
        );
    }

    fn condition(&mut self, condition: Condition) {
        push(self.html, format_args!("<td class=\"condition\">{condition}</td>"));
    }

    fn difference(&mut self, difference: Option<&Difference>) {
        let Some(difference) = difference else { return self.number(None, words::ratio) };
        let class = class_of(difference.quantity.is_good(difference.effect()));
        let verdict = difference.quantity.verdict(difference.effect());
        let ratio = difference.comparison.ratio;
        let (text, interval) = (words::ratio(ratio), words::interval(difference));
        push(
            self.html,
            format_args!(
                "<td class=\"n\" data-value=\"{ratio}\">{text} <span class=\"{class}\">{verdict}</span>\
                 <small>{interval}</small></td>"
            ),
        );
    }

    pub(super) fn number(&mut self, value: Option<f64>, format: impl FnOnce(f64) -> String) {
        match value {
            Some(value) => {
                let text = escape(&format(value));
                push(self.html, format_args!("<td class=\"n\" data-value=\"{value}\">{text}</td>"));
            }
            None => self.html.push_str("<td class=\"n\">–</td>"),
        }
    }

    pub(super) fn end(self) {
        self.html.push_str("</tbody>\n</table></div>\n");
    }
}

fn class_of(good: Option<bool>) -> &'static str {
    match good {
        Some(true) => "good",
        Some(false) => "bad",
        None => "neither",
    }
}

/// Each cell of a section with the medians of its repeats.
pub(super) fn points(html: &mut String, groups: &Groups<'_>, section: &Section<'_>) {
    let mut columns = vec!["variant", "condition", "valid repeats"];
    let mut shown = section.told(&SHOWN);
    shown.push(Quantity::GeneratorCpu);
    columns.extend(shown.iter().map(|quantity| quantity.label()));
    let mut table = Table::begin(html, &columns);
    for condition in section.conditions() {
        for (variant, cell) in section.at(condition) {
            table.row(Some(variant));
            table.variant(groups, variant);
            table.condition(condition);
            let (valid, all) = (cell.valid().count(), cell.repeats.len());
            table.number(Some(valid as f64), |_| format!("{valid} of {all}"));
            for &quantity in &shown {
                table.number(cell.median(quantity), |value| quantity.format(value));
            }
            table.end_row();
        }
    }
    table.end();
}

/// What else each cell of a section cost.
pub(super) fn costs(html: &mut String, groups: &Groups<'_>, section: &Section<'_>) {
    let costs = costs::of(section);
    push(html, format_args!("<p class=\"hint\">{}</p>\n", costs::HOW));
    let mut columns = vec!["variant", "condition"];
    columns.extend(costs.iter().map(|cost| cost.label));
    let mut table = Table::begin(html, &columns);
    for condition in section.conditions() {
        for (variant, cell) in section.at(condition) {
            table.row(Some(variant));
            table.variant(groups, variant);
            table.condition(condition);
            costs.iter().for_each(|cost| table.number(cost.median(cell), cost.format));
            table.end_row();
        }
    }
    table.end();
}

/// All variants against the baseline: ratios with their intervals and verdicts.
pub(super) fn differences(html: &mut String, report: &Report<'_>, section: &Section<'_>) {
    let groups = report.groups;
    let baseline = escape(&groups.name(report.baseline));
    push(
        html,
        format_args!(
            "<p>Each variant as a multiple of {baseline}; below each ratio its 95 % confidence interval.</p>\n"
        ),
    );
    let mut columns = vec!["variant", "condition", "common repeats"];
    let compared = section.told(&COMPARED);
    columns.extend(compared.iter().map(|quantity| quantity.label()));
    let mut table = Table::begin(html, &columns);
    for condition in section.conditions() {
        for variant in (0..groups.variants.len()).filter(|variant| *variant != report.baseline) {
            let pair = (variant, report.baseline);
            let all: Vec<_> = compared
                .iter()
                .map(|&quantity| difference(section, condition, quantity, pair))
                .collect();
            let Some(pairs) = all.iter().flatten().map(|difference| difference.pairs).max() else {
                continue;
            };
            table.row(Some(variant));
            table.variant(groups, variant);
            table.condition(condition);
            table.number(Some(pairs as f64), |pairs| pairs.to_string());
            all.iter().for_each(|difference| table.difference(difference.as_ref()));
            table.end_row();
        }
    }
    table.end();
}

/// What searches found, if there are any: the highest rates, and how they compare with the baseline's.
pub(super) fn searches(html: &mut String, report: &Report<'_>, section: &Section<'_>) {
    let searches = section.searches();
    if searches.is_empty() {
        return;
    }
    html.push_str("<h3>Highest rates</h3>\n");
    push(html, format_args!("<p class=\"hint\">{}</p>\n", words::SEARCH));
    for condition in searches {
        push(html, format_args!("<p>With {condition}:</p>\n"));
        search(html, report, section, condition);
    }
}

fn search(html: &mut String, report: &Report<'_>, section: &Section<'_>, condition: Condition) {
    let (groups, baseline) = (report.groups, report.baseline);
    let compared = format!("as a multiple of {}", groups.name(baseline));
    let mut table = Table::begin(
        html,
        &[
            "variant",
            "operations/s",
            "95 % interval",
            "p99 then",
            &compared,
            "valid repeats",
            "runs",
        ],
    );
    for (variant, cell) in section.at(condition) {
        table.row(Some(variant));
        table.variant(groups, variant);
        let name = |rate: f64| if rate > 0.0 { numbers::count(rate) } else { "none".to_owned() };
        match (cell.median(Quantity::Rate), cell.invalid().map(Outcome::rate).reduce(f64::max)) {
            // What was confirmed before the generator was the limit holds all the same.
            (None, Some(rate)) if rate > 0.0 => table.text(&format!("at least {}", name(rate))),
            (rate, _) => table.number(rate, name),
        }
        let interval = cell.interval(Quantity::Rate).map(|(low, high)| match high {
            0.0 => String::new(),
            high => format!("{}..{}", name(low), name(high)),
        });
        table.text(&interval.unwrap_or_else(|| "too few repeats".to_owned()));
        table.number(cell.median(Quantity::P99), |p99| Quantity::P99.format(p99));
        let other = (variant != baseline)
            .then(|| difference(section, condition, Quantity::Rate, (variant, baseline)));
        table.difference(other.flatten().as_ref());
        let (valid, all) = (cell.valid().count(), cell.repeats.len());
        table.number(Some(valid as f64), |_| format!("{valid} of {all}"));
        let trials = cell.repeats.iter().map(|source| source.record.outcome.trials.len());
        table.number(Some(trials.sum::<usize>() as f64), |runs| runs.to_string());
        table.end_row();
    }
    table.end();
}

/// Rate and server CPU of a condition, servers down and protocols across; the stronger the colour,
/// the better.
pub(super) fn matrices(
    html: &mut String,
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) {
    html.push_str("<div class=\"matrices\">\n");
    for quantity in [Quantity::Rate, Quantity::ServerCpu] {
        matrix(html, groups, section, condition, quantity);
    }
    html.push_str("</div>\n");
}

fn matrix(
    html: &mut String,
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
    quantity: Quantity,
) {
    let cells: Vec<_> = section.at(condition).collect();
    let there =
        || cells.iter().filter_map(|(id, cell)| Some((groups.variants.get(*id)?, *id, *cell)));
    let servers: BTreeSet<&str> = there().map(|(variant, ..)| variant.server.as_str()).collect();
    let protocols: BTreeSet<&str> =
        there().map(|(variant, ..)| variant.protocol.as_str()).collect();
    let value = |cell: &Cell<'_>| cell.median(quantity);
    let values: Vec<f64> = cells.iter().filter_map(|(_, cell)| value(cell)).collect();
    push(
        html,
        format_args!(
            "<div class=\"scroll\"><table class=\"matrix\"><caption>{}</caption>\n<tr><td></td>",
            quantity.label()
        ),
    );
    protocols
        .iter()
        .for_each(|name| push(html, format_args!("<th scope=\"col\">{}</th>", escape(name))));
    html.push_str("</tr>\n");
    for server in &servers {
        push(html, format_args!("<tr><th scope=\"row\">{}</th>", escape(server)));
        for protocol in &protocols {
            let found = there().find(|(v, ..)| v.server == *server && v.protocol == *protocol);
            match found.map(|(_, id, cell)| (id, value(cell))) {
                Some((id, Some(value))) => {
                    let heat = heat(quantity, value, &values);
                    let text = quantity.format(value);
                    push(
                        html,
                        format_args!(
                            "<td class=\"heat\" data-variant=\"{id}\" style=\"--heat:{heat:.2}\">{text}</td>"
                        ),
                    );
                }
                Some((_, None)) => html.push_str("<td class=\"none\">no result</td>"),
                None => html.push_str("<td class=\"none\">–</td>"),
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
}

/// 1 for the best of all, less in proportion.
fn heat(quantity: Quantity, value: f64, all: &[f64]) -> f64 {
    let best = if quantity == Quantity::Rate {
        value / all.iter().copied().fold(f64::MIN_POSITIVE, f64::max)
    } else {
        all.iter().copied().fold(f64::MAX, f64::min) / value.max(f64::MIN_POSITIVE)
    };
    best.clamp(0.0, 1.0)
}

/// Every point and file without a result, and why.
pub(super) fn without_result(html: &mut String, groups: &Groups<'_>) {
    html.push_str("<section id=\"without-result\">\n<h2>Points without a result</h2>\n");
    if groups.without_result.is_empty() {
        html.push_str("<p>None: all points are valid.</p>\n</section>\n");
        return;
    }
    html.push_str(
        "<p>Invalid: the generator was the bottleneck; drawn as crosses, and part of no number. \
         Failed: a wrong answer, a lost commit or an error; not drawn.</p>\n",
    );
    let mut table = Table::begin(html, &["point", "kind", "reason", "file"]);
    for without in &groups.without_result {
        table.row(None);
        table.text(&words::point(without.record));
        table.text(without.kind);
        table.text(&without.reason);
        table.text(&without.path.display().to_string());
        table.end_row();
    }
    table.end();
    html.push_str("</section>\n");
}
