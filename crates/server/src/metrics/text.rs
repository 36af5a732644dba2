//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use storage::Buckets;

/// Its content type.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page under construction: families, each with all its samples behind it.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a family. `help` is one line.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            let _infallible = write!(self.0, "{separator}{label}=\"");
            self.escape(text);
            self.0.push('"');
            separator = ',';
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }

    /// A histogram, with its bounds and its sum divided by `unit`; nothing if it has no buckets.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
        unit: f64,
    ) {
        if buckets.counts.is_empty() {
            return;
        }
        let in_unit = |value: u64| value as f64 / unit;
        let of_buckets = format!("{name}_bucket");
        let mut below = 0;
        let last = buckets.counts.len().saturating_sub(1);
        for (index, count) in buckets.counts.iter().enumerate() {
            below += count;
            let bound = if index == last {
                "+Inf".to_owned()
            } else {
                in_unit(buckets.first << index).to_string()
            };
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.sample(&of_buckets, &labels, below);
        }
        self.sample(&format!("{name}_sum"), labels, in_unit(buckets.sum));
        self.sample(&format!("{name}_count"), labels, below);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '"' | '\\' => self.0.extend(['\\', character]),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_histograms_are_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", "counter", "How many.");
        page.sample("a_total", &[], 3);
        page.sample("a_total", &[("x", "q\"b\\n\n."), ("y", "é")], 4);
        let buckets = Buckets { first: 16_000, counts: vec![1, 0, 2], sum: 1_500_000 };
        page.family("b_seconds", "histogram", "How long.");
        page.histogram("b_seconds", &[("storage", "1")], &buckets, 1e9);
        let text = "\
# HELP a_total How many.
# TYPE a_total counter
a_total 3
a_total{x=\"q\\\"b\\\\n\\n.\",y=\"é\"} 4
# HELP b_seconds How long.
# TYPE b_seconds histogram
b_seconds_bucket{storage=\"1\",le=\"0.000016\"} 1
b_seconds_bucket{storage=\"1\",le=\"0.000032\"} 1
b_seconds_bucket{storage=\"1\",le=\"+Inf\"} 3
b_seconds_sum{storage=\"1\"} 0.0015
b_seconds_count{storage=\"1\"} 3
";
        assert_eq!(page.finish(), text);
    }
}
