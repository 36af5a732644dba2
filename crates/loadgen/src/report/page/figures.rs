//! Figures that the scenario asked for. They come first: they are what was to be found out.

use super::super::figures::{self, Row};
use super::tables::Table;
use super::{escape, push};

pub(super) fn figures(html: &mut String, rows: &[Row]) {
    for (title, columns, rows) in figures::tables(rows) {
        push(html, format_args!("<section class=\"figures-asked\">\n<h2>{}</h2>\n", escape(title)));
        let mut table = Table::begin(html, columns);
        for row in rows {
            table.row(None);
            table.noted(&row.name, row.note());
            table.text(row.shown());
            table.text(&row.interval);
            if let Some(bound) = &row.bound {
                table.text(bound);
                table.judged(row.word(), row.verdict.map(|verdict| verdict.reached));
            }
            table.end_row();
        }
        table.end();
        html.push_str("</section>\n");
    }
}
