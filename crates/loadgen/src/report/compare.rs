//! `compare A B`: two variants on the terminal.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::difference::{Difference, differences};
use super::group::{Groups, VariantId};
use super::{load, words};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A server and a protocol, such as `tokio-msgpack`
    a: String,
    /// What it is compared with
    b: String,
    /// Records, or folders of records
    #[arg(value_name = "PATH", default_value = "reports/records")]
    records: Vec<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let loaded = load::load(&options.records)?;
    let groups = Groups::of(&loaded);
    print!("{}", text(&groups, groups.variant(&options.a)?, groups.variant(&options.b)?)?);
    Ok(())
}

/// The table, then the same in sentences, then what has no part in it.
fn text(groups: &Groups<'_>, a: VariantId, b: VariantId) -> Result<String> {
    let (name_a, name_b) = (groups.name(a), groups.name(b));
    let (mut text, mut sentences, mut all) = (String::new(), Vec::new(), Vec::new());
    for section in &groups.sections {
        let differences = differences(section, a, b);
        if differences.is_empty() {
            continue;
        }
        let workload = words::heading(groups, section);
        let table = table(&differences, &name_a, &name_b);
        text += &format!("{workload}\n{}\n\n{table}\n", words::settings(section));
        let clear = differences.iter().filter(|difference| difference.is_clear());
        sentences.extend(clear.map(|d| words::sentence(d, &name_a, &name_b, &workload)));
        all.extend(differences);
    }
    if all.is_empty() {
        bail!("{name_a} and {name_b} have no point in common with a valid repeat in both");
    }
    sentences.push(words::tally(&all));
    text += &format!("{}\n", sentences.join("\n"));
    if groups.has_async_std() && [&name_a, &name_b].iter().any(|name| name.contains("async-std")) {
        text += &format!("\n{}\n", words::ASYNC_STD);
    }
    let of_both = groups.without_result.iter().filter(|without| {
        without.record.is_none_or(|record| {
            let name = format!("{}-{}", record.point.server, record.point.protocol);
            name == name_a || name == name_b
        })
    });
    let left_out: Vec<_> = of_both
        .map(|without| {
            let point = words::point(without.record);
            format!(
                "  {point}: {}: {} ({})\n",
                without.kind,
                without.reason,
                without.path.display()
            )
        })
        .collect();
    if !left_out.is_empty() {
        text += &format!("\nWithout a part in this:\n{}", left_out.concat());
    }
    Ok(text)
}

fn table(differences: &[Difference], a: &str, b: &str) -> String {
    let mut rows =
        vec![["condition", "what", a, b, "ratio", "95 %", "repeats", "verdict"].map(str::to_owned)];
    for difference in differences {
        let quantity = difference.quantity;
        rows.push([
            difference.condition.to_string(),
            quantity.label().to_owned(),
            quantity.format(difference.medians.0),
            quantity.format(difference.medians.1),
            words::ratio(difference.comparison.ratio),
            words::interval(difference),
            difference.pairs.to_string(),
            quantity.verdict(difference.effect()).to_owned(),
        ]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..8).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::from(" ");
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Words begin at the same place, numbers end there.
            if (2..7).contains(&index) {
                line += &format!(" {cell:>width$} ");
            } else {
                line += &format!(" {cell:<width$} ");
            }
        }
        text += &format!("{}\n", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{loaded, some};

    fn compared(a: &str, b: &str) -> Result<String> {
        let loaded = loaded(some());
        let groups = Groups::of(&loaded);
        text(&groups, groups.variant(a)?, groups.variant(b)?)
    }

    #[test]
    fn a_row_for_each_quantity_then_sentences_then_what_is_left_out() {
        let text = compared("tokio-msgpack", "zeo-msgpack").unwrap();
        let row = text.lines().find(|line| line.contains("256") && line.contains("CPU")).unwrap();
        assert!(row.ends_with("4  cheaper"), "the failed repeat has no partner: {row}");
        assert!(text.contains("tokio-msgpack needs 7"), "{text}");
        assert!(text.contains("failed: <b>oid 7</b>: wrong bytes"), "{text}");
        assert!(!text.contains("97 %"), "another variant's: {text}");
        assert!(text.contains("Of 12 comparisons "), "{text}");
        assert!(!text.contains("discontinued"));
        assert!(compared("zeo-msgpack", "async-std-msgpack").unwrap().contains("discontinued"));
    }

    #[test]
    fn nothing_in_common_is_an_error() {
        let mut records = some();
        records.retain(|record| record.point.server != "zeo" || record.point.connections == 256);
        records.retain(|record| record.point.server == "zeo" || record.point.connections == 64);
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        let variant = |name| groups.variant(name).unwrap();
        let error = text(&groups, variant("tokio-msgpack"), variant("zeo-msgpack")).unwrap_err();
        assert!(error.to_string().contains("no point in common"), "{error}");
    }

    #[test]
    fn columns_are_aligned() {
        let text = compared("tokio-msgpack", "threads-pickle").unwrap();
        let lines: Vec<_> =
            text.lines().skip_while(|line| !line.contains("verdict")).take(5).collect();
        let at = lines[0].find("verdict").unwrap();
        for line in &lines[1..] {
            let verdict: String = line.chars().skip(at).collect();
            assert!(
                ["faster", "slower", "cheaper", "same", "not clear"]
                    .iter()
                    .any(|word| verdict.starts_with(word)),
                "{line}"
            );
        }
    }
}
