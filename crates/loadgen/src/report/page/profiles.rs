//! Where the time goes: a table for each point at which servers were looked at.

use super::super::{Report, profiles};
use super::tables::Table;
use super::{escape, push};

pub(super) fn profiles(html: &mut String, report: &Report<'_>) {
    let tables = profiles::tables(report.profiles);
    if tables.is_empty() {
        return;
    }
    html.push_str("<section id=\"profiles\">\n<h2>Where the time goes</h2>\n");
    push(html, format_args!("<p class=\"hint\">{}</p>\n", profiles::HOW));
    for profiles::Table { title, columns, rows } in &tables {
        push(html, format_args!("<h3>{}</h3>\n", escape(title)));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut table = Table::begin(html, &columns);
        for row in rows {
            match report.groups.variant(&row.variant) {
                Ok(variant) => {
                    table.row(Some(variant));
                    table.variant(report.groups, variant);
                }
                Err(_) => {
                    table.row(None);
                    table.text(&row.variant);
                }
            }
            for cell in &row.cells {
                let text = cell.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
                table.number(cell.as_ref().map(|(value, _)| *value), |_| text);
            }
            table.end_row();
        }
        table.end();
    }
    html.push_str("</section>\n");
}
