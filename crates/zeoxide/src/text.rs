//! Values for people.

use std::time::Duration;

use jiff::Timestamp;
use protocol::Tid;

/// The time of a transaction, in UTC: its tid is a calendar.
pub(crate) fn time(tid: Tid) -> String {
    let minutes = tid.0 >> 32;
    let (minute, hour) = (minutes % 60, minutes / 60 % 24);
    let days = minutes / 1440;
    let (day, month, year) = (days % 31 + 1, days / 31 % 12 + 1, days / 372 + 1900);
    // 2^32 units are a minute; rounded, as the unit is longer than a nanosecond.
    let micros = ((u128::from(tid.0 & 0xffff_ffff) * 60_000_000 + (1 << 31)) >> 32).min(59_999_999);
    let (second, fraction) = (micros / 1_000_000, micros % 1_000_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// A number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1024.0
        && let Some(next) = units.next()
    {
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

/// What a transaction says of itself, which need not be text, in one line.
pub(crate) fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(|c| {
            if c.is_control() { Shown::Escaped(c.escape_default()) } else { Shown::Plain(Some(c)) }
        })
        .collect()
}

/// A character as it is shown.
enum Shown {
    Plain(Option<char>),
    Escaped(std::char::EscapeDefault),
}

impl Iterator for Shown {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Plain(c) => c.take(),
            Self::Escaped(escape) => escape.next(),
        }
    }
}

/// A tid as an argument: the digits that everything prints.
pub(crate) fn parse_tid(text: &str) -> Result<Tid, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let value = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    value.map(Tid).ok_or_else(|| "a tid has 16 hexadecimal digits".to_owned())
}

/// A tid, or the last one of a time, which is written as [`time`] does; a fraction can be left out.
pub(crate) fn parse_moment(text: &str) -> Result<Tid, String> {
    parse_tid(text).or_else(|_| {
        parse_time(text).ok_or_else(|| {
            "neither a tid (16 hexadecimal digits) nor a time in UTC (2026-11-01T00:01:02Z)"
                .to_owned()
        })
    })
}

fn parse_time(text: &str) -> Option<Tid> {
    let begins = text.parse::<Timestamp>().ok()?.duration_since(Timestamp::UNIX_EPOCH);
    let begins = Duration::try_from(begins).ok()?;
    let clock = text.strip_suffix('Z')?.split_once('T')?.1;
    // All of the smallest unit that was given belongs to it.
    let unit = match (clock.split_once('.'), clock.matches(':').count()) {
        (Some((_, fraction)), _) => {
            10_u64.checked_pow(9_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?)?
        }
        (None, 2) => 1_000_000_000,
        (None, _) => return None,
    };
    let ends = begins + Duration::from_nanos(unit);
    Some(Tid::from_unix(ends.checked_sub(Duration::from_nanos(1))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `persistent.TimeStamp.TimeStamp(2026, 11, 23, 9, 30, 15.5).raw()`.
    #[test]
    fn a_tid_is_a_time() {
        let minutes = (((126 * 12 + 10) * 31 + 22) * 24 + 9) * 60 + 30;
        let tid = Tid((minutes << 32) | ((31 << 32) / 120));
        assert_eq!(time(tid), "2026-11-23T09:30:15.500000Z");
        assert_eq!(time(Tid::ZERO), "1900-01-01T00:00:00.000000Z");
        assert!(time(Tid((1 << 32) - 1)).starts_with("1900-01-01T00:00:59.999999"));
    }

    #[test]
    fn sizes_have_units() {
        let texts: Vec<_> = [0, 1023, 1024, 1536 << 10, 5 << 40, 5000 << 40].map(size).into();
        let wanted = ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "5.0 TiB", "5000.0 TiB"];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn what_is_not_text_stays_in_its_line() {
        assert_eq!(line("a\nb é\u{1b}[2J".as_bytes()), "a\\nb é\\u{1b}[2J");
        assert_eq!(line(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn tids_are_read_as_they_are_printed() {
        assert_eq!(parse_tid("040cb6c104444444"), Ok(Tid(0x040c_b6c1_0444_4444)));
        assert_eq!(parse_tid("0x040cb6c104444444"), parse_tid("040cb6c104444444"));
        for wrong in ["", "1", "040cb6c10444444g", "0x040cb6c1044444444"] {
            assert!(parse_tid(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_a_tid_or_a_time() {
        assert_eq!(parse_moment("040cb6c104444444"), Ok(Tid(0x040c_b6c1_0444_4444)));
        let end = parse_moment("2026-11-01T00:01:01Z").unwrap();
        assert_eq!(time(Tid(0x040c_b6c1_0444_4444)), "2026-11-01T00:01:01.000000Z");
        assert!(end > Tid(0x040c_b6c1_0444_4444));
        assert_eq!(time(Tid(end.0 + 1)), "2026-11-01T00:01:02.000000Z");
        let whole = parse_moment("2026-11-01T00:01:59Z").unwrap();
        assert_eq!(whole.0 & 0xffff_ffff, 0xffff_ffff);
        assert!(parse_moment("2026-11-01T00:01:01.5Z").unwrap() < end);
        for wrong in [
            "",
            "2026-11-01",
            "2026-13-01T00:00:00Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T00:00:00",
            "2026-11-01T00:00:00.x1Z",
            "99999-11-01T00:00:00Z",
        ] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
