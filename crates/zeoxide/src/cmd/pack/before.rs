//! As of when to pack, in the words of ZEO's `zeopack` and in others.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use protocol::Tid;

use crate::text::parse_tid;

/// A time, now unless it is given.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Before {
    /// Keep what was current at any time in the last DAYS days: so long things can be undone
    #[arg(short = 'd', long, default_value_t = 0)]
    days: u32,
    /// Count from that time of today, in the local time zone, in place of now
    #[arg(short = 't', long, value_name = "HH[:MM[:SS]]", value_parser = parse_time)]
    time: Option<Time>,
    /// As of a transaction (16 hexadecimal digits), or a time (2026-11-25, 2026-11-25T03:00, in the
    /// local time zone; or 2026-11-25T03:00Z). ZEO's protocols know it to the microsecond only
    #[arg(long, value_name = "TID|TIME", conflicts_with_all = ["days", "time"], value_parser = parse_moment)]
    before: Option<Moment>,
}

/// Something that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Tid(Tid),
    Universal(Timestamp),
    Local(DateTime),
}

impl Before {
    /// As a tid, at this time and place.
    pub(crate) fn tid(&self, now: &Zoned) -> Result<Tid> {
        let at = match self.before {
            Some(Moment::Tid(tid)) => return Ok(tid),
            Some(Moment::Universal(at)) => at,
            Some(Moment::Local(at)) => local(at, now.time_zone())?,
            None => {
                let from = match self.time {
                    None => now.timestamp(),
                    Some(time) => local(now.date().to_datetime(time), now.time_zone())?,
                };
                // As zeopack has it: a day is 24 hours, also where clocks are put forward.
                from.checked_sub(Duration::from_secs(u64::from(self.days) * 86_400))
                    .context("so many days ago there was no time")?
            }
        };
        let since_epoch = at.duration_since(Timestamp::UNIX_EPOCH);
        let since_epoch = Duration::try_from(since_epoch).ok();
        since_epoch.map(Tid::from_unix).context("the time to pack to is before 1970")
    }
}

fn local(at: DateTime, zone: &TimeZone) -> Result<Timestamp> {
    zone.to_timestamp(at).with_context(|| format!("{at}: not a time"))
}

fn parse_time(text: &str) -> Result<Time, String> {
    let wrong = || format!("{text:?} is not HH, HH:MM or HH:MM:SS");
    let mut fields = text.split(':').map(|field| field.parse::<i8>().ok());
    let mut next = || fields.next().unwrap_or(Some(0)).ok_or_else(wrong);
    let (hour, minute, second) = (next()?, next()?, next()?);
    if fields.next().is_some() {
        return Err(wrong());
    }
    Time::new(hour, minute, second, 0).map_err(|_| wrong())
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(tid) = parse_tid(text) {
        return Ok(Moment::Tid(tid));
    }
    if let Ok(at) = text.parse() {
        return Ok(Moment::Universal(at));
    }
    text.parse().map(Moment::Local).map_err(|_| {
        "neither a transaction (16 hexadecimal digits) nor a time (2026-11-25T03:00)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    fn at(time: &str) -> Tid {
        let since_epoch = time.parse::<Timestamp>().unwrap().as_second();
        Tid::from_unix(Duration::from_secs(since_epoch.try_into().unwrap()))
    }

    fn tid(before: &Before) -> Tid {
        // Two hours east of Greenwich, and already the next day there.
        let zone = TimeZone::fixed(tz::offset(2));
        let now = "2026-11-24T23:30:00Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        before.tid(&now).unwrap()
    }

    #[test]
    fn days_and_times_are_those_of_zeopack() {
        assert_eq!(tid(&Before::default()), at("2026-11-24T23:30:00Z"));
        assert_eq!(tid(&Before { days: 3, ..Before::default() }), at("2026-11-21T23:30:00Z"));
        for (text, wanted) in [
            ("1", "2026-11-24T23:00:00Z"),
            ("01:15", "2026-11-24T23:15:00Z"),
            ("1:15:7", "2026-11-24T23:15:07Z"),
        ] {
            let time = Some(parse_time(text).unwrap());
            assert_eq!(tid(&Before { time, ..Before::default() }), at(wanted), "{text}");
        }
        for wrong in ["", "x", "25", "1:60", "1:2:3:4", "-1", "1:"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_a_transaction_or_a_time_somewhere() {
        let moment =
            |text| Before { before: Some(parse_moment(text).unwrap()), ..Before::default() };
        assert_eq!(tid(&moment("040cb6c104444444")), Tid(0x040c_b6c1_0444_4444));
        assert_eq!(tid(&moment("2026-11-20")), at("2026-11-19T22:00:00Z"));
        assert_eq!(tid(&moment("2026-11-20T03:00")), at("2026-11-20T01:00:00Z"));
        assert_eq!(tid(&moment("2026-11-20T03:00Z")), at("2026-11-20T03:00:00Z"));
        assert_eq!(tid(&moment("2026-11-20T03:00+01:00")), at("2026-11-20T02:00:00Z"));
        for wrong in ["", "yesterday", "03:00", "2026-13-01", "040cb6c1"] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
        let before_all =
            Before { before: Some(parse_moment("1960-01-01").unwrap()), ..Before::default() };
        assert!(before_all.tid(&Zoned::now()).is_err());
    }
}
