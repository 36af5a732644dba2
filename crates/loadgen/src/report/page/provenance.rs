//! Where the numbers come from.

use std::collections::BTreeSet;

use super::super::provenance::Provenance;
use super::{escape, push};

pub(super) fn provenance(html: &mut String, provenance: &Provenance) {
    html.push_str("<section id=\"provenance\">\n<h2>Settings, versions and machine</h2>\n");
    push(
        html,
        format_args!(
            "<p>This page is generated; change the records or the program, not the page:</p>\n\
             <pre>{}</pre>\n",
            escape(&provenance.command)
        ),
    );
    facts(html, "How servers were started", &provenance.commands);
    facts(html, "Further settings", &provenance.settings);
    facts(html, "Versions", &provenance.versions);
    facts(html, "Machine and commit", &provenance.host);
    push(html, format_args!("<details><summary>{}</summary>\n<ul>\n", escape(&provenance.records)));
    for file in &provenance.files {
        push(html, format_args!("<li><code>{}</code></li>\n", escape(file)));
    }
    html.push_str("</ul>\n</details>\n</section>\n");
}

fn facts(html: &mut String, title: &str, facts: &[(String, BTreeSet<String>)]) {
    push(html, format_args!("<details><summary>{title}</summary>\n<dl>\n"));
    for (name, values) in facts {
        push(html, format_args!("<dt>{}</dt>", escape(name)));
        for value in values {
            push(html, format_args!("<dd>{}</dd>", escape(value)));
        }
        html.push('\n');
    }
    html.push_str("</dl>\n</details>\n");
}
