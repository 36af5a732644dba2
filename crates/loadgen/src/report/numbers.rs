//! Numbers as people read them: three digits that matter, a unit, thousands set apart.

/// `1,234,567`, `123`, `12.3`, `0.123`.
pub(super) fn count(n: f64) -> String {
    if n.abs() < 999.5 {
        return three_digits(n);
    }
    let digits = format!("{:.0}", n.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0.0 { format!("-{text}") } else { text }
}

/// `80 k`, `1.5 M`: for the marks of an axis.
pub(super) fn short_count(n: f64) -> String {
    scaled(n, 1000.0, &["", " k", " M", " G"])
}

/// `870 ns`, `12.3 µs`, `1.5 s`.
pub(super) fn duration(ns: f64) -> String {
    scaled(ns, 1000.0, &[" ns", " µs", " ms", " s"])
}

/// `1.2 KiB`.
pub(super) fn bytes(n: f64) -> String {
    scaled(n, 1024.0, &[" B", " KiB", " MiB", " GiB"])
}

/// `12 %` of 0.12; one decimal below ten.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", percent_digits(share))
}

/// The same without its sign.
pub(super) fn percent_digits(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 9.95 { trimmed(format!("{percent:.1}")) } else { format!("{percent:.0}") }
}

/// `2026-11-23 14:05` (UTC) of seconds since 1970.
pub(super) fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in eras of 400 years; March comes first, so that the leap day
    // is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + u64::from(month >= 10), (month + 2) % 12 + 1);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest / 60 % 60)
}

fn scaled(n: f64, base: f64, units: &[&str]) -> String {
    let mut n = n;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What rounds to the next unit is written in it.
    while n.abs() >= base - 0.5
        && let Some(next) = units.next()
    {
        n /= base;
        unit = next;
    }
    format!("{}{unit}", three_digits(n))
}

fn three_digits(n: f64) -> String {
    let size = n.abs();
    if size >= 99.95 {
        format!("{n:.0}")
    } else if size >= 9.995 {
        trimmed(format!("{n:.1}"))
    } else if size >= 0.9995 || size == 0.0 {
        trimmed(format!("{n:.2}"))
    } else {
        trimmed(format!("{n:.3}"))
    }
}

fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (n, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (12.0, "12"),
            (999.4, "999"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(count(n), text);
        }
        assert_eq!(short_count(80_000.0), "80 k");
        assert_eq!(short_count(1_500_000.0), "1.5 M");
        for (ns, text) in
            [(870.0, "870 ns"), (12_345.0, "12.3 µs"), (999_999.0, "1 ms"), (2.5e12, "2500 s")]
        {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(bytes(1_229.0), "1.2 KiB");
        assert_eq!(
            (percent(0.12), percent(0.0349), percent(-0.02)),
            strings("12 %", "3.5 %", "-2 %")
        );
    }

    fn strings(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.to_owned(), b.to_owned(), c.to_owned())
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_782_400 + 3_660), "2000-02-29 01:01");
        assert_eq!(time(1_795_435_200), "2026-11-23 12:00");
    }
}
