//! What a count says beside the baseline's.

use std::collections::BTreeMap;

/// An operation, counted.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) name: String,
    /// For doing it once.
    pub(super) instructions: u64,
    pub(super) allowed_percent: f64,
}

/// All operations, with their counts before and now.
pub(super) fn table(baseline: &BTreeMap<String, u64>, counted: &[Counted]) -> String {
    let mut text =
        format!("{:58} {:>9} {:>9} {:>8}\n", "instructions", "baseline", "now", "change");
    for Counted { name, instructions, .. } in counted {
        text += &match baseline.get(name) {
            None => format!("{name:58} {:>9} {instructions:>9}\n", "-"),
            Some(&before) => {
                let change = percent(before, *instructions);
                format!("{name:58} {before:>9} {instructions:>9} {change:>+6.1} %\n")
            }
        };
    }
    text
}

/// What is wrong: costs that have changed, and names that are on one side only.
pub(super) fn complaints(baseline: &BTreeMap<String, u64>, counted: &[Counted]) -> Vec<String> {
    let mut complaints: Vec<_> =
        counted.iter().filter_map(|one| complaint(baseline.get(&one.name).copied(), one)).collect();
    for name in baseline.keys() {
        if !counted.iter().any(|one| one.name == *name) {
            complaints.push(format!("`{name}` is in the baseline, and there is no such operation"));
        }
    }
    complaints
}

fn complaint(before: Option<u64>, counted: &Counted) -> Option<String> {
    let Counted { name, instructions, allowed_percent } = counted;
    let Some(before) = before else {
        return Some(format!("`{name}` is not in the baseline"));
    };
    let change = percent(before, *instructions);
    let verdict = if change > 0.0 { "costs more" } else { "costs less; let the baseline say so" };
    (change.abs() > *allowed_percent).then(|| {
        format!(
            "`{name}`: {before} instructions in the baseline, {instructions} now ({change:+.1} %, \
             {allowed_percent} % are allowed): it {verdict}"
        )
    })
}

fn percent(before: u64, now: u64) -> f64 {
    100.0 * (now as f64 - before as f64) / before as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_of(before: &[(&str, u64)], now: &[(&str, u64)]) -> Vec<String> {
        let baseline = before.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let counted: Vec<_> = now
            .iter()
            .map(|&(name, instructions)| Counted {
                name: name.to_owned(),
                instructions,
                allowed_percent: 3.0,
            })
            .collect();
        complaints(&baseline, &counted)
    }

    #[test]
    fn a_count_may_differ_by_what_is_allowed_and_no_more() {
        let before = [("load", 1_000)];
        for fine in [970, 1_000, 1_030] {
            assert_eq!(complaints_of(&before, &[("load", fine)]), Vec::<String>::new());
        }
        let worse = complaints_of(&before, &[("load", 1_031)]).join("\n");
        let words = ["`load`", " 1000 ", " 1031 ", "+3.1 %", "3 % are allowed", "costs more"];
        assert!(words.iter().all(|word| worse.contains(word)), "{worse}");
        let better = complaints_of(&before, &[("load", 969)]).join("\n");
        assert!(better.contains("costs less"), "{better}");
    }

    #[test]
    fn nothing_comes_or_goes_unseen() {
        assert_eq!(complaints_of(&[], &[("new", 1)]).len(), 1);
        assert_eq!(complaints_of(&[("old", 1)], &[]).len(), 1);
        // Something that was free is not: no number of percent says how much more that is.
        assert_eq!(complaints_of(&[("free", 0)], &[("free", 1)]).len(), 1);
    }
}
