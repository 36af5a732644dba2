//! How far something is: a bar on a terminal, elsewhere a line now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::pack_status::PackStatus;
use crate::text::size;

/// How far something that takes long is, told on standard error.
#[derive(Debug)]
pub(crate) struct Progress(Kind);

#[derive(Debug)]
enum Kind {
    Bar(ProgressBar),
    Lines(Lines),
}

#[derive(Debug)]
struct Lines {
    what: &'static str,
    began: Instant,
    /// When the next line is due, and what was done when the last one was.
    due: Instant,
    first: u64,
    total: u64,
}

impl Progress {
    /// `what` is done to `total` bytes, of which `first` need not be done.
    pub(crate) fn new(what: &'static str, first: u64, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(Kind::Lines(Lines::new(what, first, total, Instant::now())));
        }
        let bar = ProgressBar::new(total).with_message(what).with_position(first);
        bar.set_style(style(TEMPLATE));
        bar.reset_eta();
        Self(Kind::Bar(bar))
    }

    /// Of a pack, for [`Self::tell_pack`]. Shows nothing until that is called.
    pub(crate) fn of_pack(what: &'static str) -> Self {
        let mut progress = Self::new(what, 0, 0);
        match &mut progress.0 {
            Kind::Bar(bar) => bar.set_style(style(PACK_TEMPLATE)),
            // A pack that is not done at once may take hours: it is told soon that it goes on.
            Kind::Lines(lines) => lines.due = lines.began + FIRST_PACK_LINE_AFTER,
        }
        progress
    }

    /// The pack is there.
    pub(crate) fn tell_pack(&mut self, pack: PackStatus) {
        match &mut self.0 {
            Kind::Bar(bar) => {
                bar.set_length(pack.parts);
                bar.set_prefix(format!("{pack}"));
                bar.set_position(pack.parts_done);
            }
            Kind::Lines(lines) => {
                if lines.is_due(Instant::now()) {
                    eprintln!("{}: {pack}", lines.what);
                }
            }
        }
    }

    /// `done` bytes are done.
    pub(crate) fn tell(&mut self, done: u64) {
        match &mut self.0 {
            Kind::Bar(bar) => bar.set_position(done),
            Kind::Lines(lines) => {
                if let Some(line) = lines.line(done, Instant::now()) {
                    eprintln!("{line}");
                }
            }
        }
    }

    /// Makes place for what comes after it.
    pub(crate) fn end(self) {
        if let Kind::Bar(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn new(what: &'static str, first: u64, total: u64, now: Instant) -> Self {
        Self { what, began: now, due: now + INTERVAL, first, total }
    }

    fn line(&mut self, done: u64, now: Instant) -> Option<String> {
        if !self.is_due(now) {
            return None;
        }
        let seconds = now.duration_since(self.began).as_secs_f64();
        let rate = done.saturating_sub(self.first) as f64 / seconds.max(0.001);
        let percent = done.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        let (what, total) = (self.what, size(self.total));
        Some(format!("{what}: {percent} % of {total}, {}/s", size(rate as u64)))
    }

    /// Once in each interval.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + INTERVAL;
        }
        is_due
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("it is well-formed")
}

const TEMPLATE: &str =
    "{msg} [{bar:30}] {percent} % {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const PACK_TEMPLATE: &str = "{msg} [{bar:30}] {prefix} {elapsed}";
const FIRST_PACK_LINE_AFTER: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_every_few_seconds() {
        let start = Instant::now();
        let mut lines = Lines::new("copying", 1000, 11 << 10, start);
        assert_eq!(lines.line(2000, start + INTERVAL / 2), None);
        let line = lines.line(1000 + (5 << 10), start + INTERVAL).unwrap();
        assert_eq!(line, "copying: 54 % of 11.0 KiB, 1.0 KiB/s");
        assert_eq!(lines.line(7000, start + INTERVAL), None);
        assert!(lines.line(7000, start + 2 * INTERVAL).is_some());
    }

    #[test]
    fn of_nothing_all_is_done() {
        let start = Instant::now();
        let line = Lines::new("reading", 0, 0, start).line(0, start + INTERVAL).unwrap();
        assert_eq!(line, "reading: 100 % of 0 bytes, 0 bytes/s");
    }
}
