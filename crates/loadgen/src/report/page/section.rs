//! One section: plots over all its conditions, then tables, then each condition by itself.

use anyhow::Result;

use super::super::group::Section;
use super::super::plots::{self, Plot};
use super::super::{Report, words};
use super::{escape, push, tables};

pub(super) fn section(
    html: &mut String,
    report: &Report<'_>,
    section: &Section<'_>,
    index: usize,
) -> Result<()> {
    let groups = report.groups;
    push(html, format_args!("<section id=\"section-{index}\">\n"));
    push(html, format_args!("<h2>{}</h2>\n", escape(&words::heading(groups, section))));
    push(html, format_args!("<p class=\"settings\">{}</p>\n", escape(&words::settings(section))));
    push(html, format_args!("<p class=\"hint\">{}</p>\n", words::MARKS));
    let mut overview = plots::latencies(groups, section);
    overview.extend(plots::scaling(groups, section));
    for condition in section.searches() {
        overview.extend(plots::highest(groups, section, condition));
        overview.extend(plots::trials(groups, section, condition));
    }
    figures(html, &overview)?;
    tables::searches(html, report, section);
    html.push_str("<h3>All points</h3>\n");
    tables::points(html, groups, section);
    html.push_str("<h3>Compared</h3>\n");
    tables::differences(html, report, section);
    html.push_str("<h3>Memory, disk and other costs</h3>\n");
    tables::costs(html, groups, section);
    for condition in section.conditions() {
        let open = if section.headline() == Some(condition) { " open" } else { "" };
        let title = escape(&condition.to_string());
        push(html, format_args!("<details{open}>\n<summary>{title}</summary>\n"));
        tables::matrices(html, groups, section, condition);
        let mut plots: Vec<Plot> =
            plots::percentiles(groups, section, condition).into_iter().collect();
        plots.extend(plots::over_time(groups, section, condition));
        plots.extend(plots::cpu(groups, section, condition));
        plots.extend(plots::both(groups, section, condition));
        plots.extend(plots::bytes(groups, section, condition));
        figures(html, &plots)?;
        html.push_str("</details>\n");
    }
    html.push_str("</section>\n");
    Ok(())
}

fn figures(html: &mut String, plots: &[Plot]) -> Result<()> {
    if plots.is_empty() {
        return Ok(());
    }
    html.push_str("<div class=\"figures\">\n");
    for plot in plots {
        let title = escape(&plot.title);
        let svg = plots::draw(plot)?;
        push(html, format_args!("<figure><figcaption>{title}</figcaption>{svg}</figure>\n"));
    }
    html.push_str("</div>\n");
    Ok(())
}
