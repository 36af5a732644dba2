//! Object ids and transaction ids.

use std::fmt;
use std::time::Duration;

macro_rules! eight_bytes {
    ($name:ident) => {
        impl $name {
            /// All bytes zero.
            pub const ZERO: Self = Self(0);

            /// The big-endian bytes, as they stand on the wire and on disk.
            pub const fn to_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// The inverse of [`Self::to_bytes`].
            pub const fn from_bytes(bytes: [u8; 8]) -> Self {
                Self(u64::from_be_bytes(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            /// Fails unless `bytes` are exactly 8.
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self::from_bytes)
            }
        }

        impl fmt::Display for $name {
            /// 16 hexadecimal digits, as ZODB's tools print ids.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

/// An object id: names an object for ever.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(pub u64);

eight_bytes!(Oid);

/// A transaction id: ZODB's time stamp, strictly increasing in commit order.
///
/// The upper 32 bits count minutes in a calendar whose months all have 31 days, starting with
/// 1900; the lower 32 bits are the second within the minute in units of 60/2^32 s. Always UTC.
/// (`persistent/_timestamp.c`.)
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u64);

eight_bytes!(Tid);

impl Tid {
    /// The largest tid that ZODB uses; "before `MAX`" means "the current revision".
    pub const MAX: Self = Self(0x7fff_ffff_ffff_ffff);

    /// The next larger tid.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The tid that stands for the time `since_epoch` after 1970-01-01 00:00 UTC.
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let minute_of_day = seconds % 86_400 / 60;
        let minutes =
            ((year.saturating_sub(1900) * 12 + month - 1) * 31 + day - 1) * 1440 + minute_of_day;
        let nanos = (seconds % 60) * 1_000_000_000 + u64::from(since_epoch.subsec_nanos());
        // 60 s are 2^32 units; u128 keeps the product exact.
        let fraction = (u128::from(nanos) << 32) / 60_000_000_000;
        // Below 2^32, since `nanos` is below a minute.
        Self((minutes << 32) | u64::try_from(fraction).unwrap_or(0))
    }

    /// The time since 1970-01-01 00:00 UTC that this tid stands for; zero for earlier ones.
    pub fn to_unix(self) -> Duration {
        let minutes = self.0 >> 32;
        let days_31 = minutes / 1440;
        let day = days_31 % 31 + 1;
        let month = days_31 / 31 % 12 + 1;
        let year = days_31 / 31 / 12 + 1900;
        let Some(days) = days_from_civil(year, month, day) else {
            return Duration::ZERO;
        };
        let nanos = (u128::from(self.0 & 0xffff_ffff) * 60_000_000_000) >> 32;
        Duration::from_secs(days * 86_400 + minutes % 1440 * 60)
            + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// The same as a number of seconds, to the last bit what `persistent.TimeStamp.timeTime()` has:
    /// that counts from another epoch first and loses a bit on the way.
    pub fn to_unix_seconds(self) -> f64 {
        const UNIT: f64 = 60.0 / 4_294_967_296.0;
        const EPOCH: f64 = 2_177_452_800.0;
        let minute = Self(self.0 & !0xffff_ffff).to_unix().as_secs_f64();
        let fraction = u32::try_from(self.0 & 0xffff_ffff).unwrap_or(0);
        (EPOCH + minute + f64::from(fraction) * UNIT) - EPOCH
    }
}

/// (year, month, day) of a day counted from 1970-01-01; H. Hinnant's `civil_from_days`.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Days from 1970-01-01, `None` before it; H. Hinnant's `days_from_civil`.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (year / 400 * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `persistent.TimeStamp.TimeStamp(2026, 11, 23, 9, 30, 15.5).raw()`.
    #[test]
    fn tid_is_the_time_stamp_of_persistent() {
        let since_epoch = Duration::from_millis(1_795_426_215_500);
        let tid = Tid::from_unix(since_epoch);
        assert_eq!(tid.0 >> 32, (((126 * 12 + 10) * 31 + 22) * 24 + 9) * 60 + 30);
        assert_eq!(tid.0 & 0xffff_ffff, (31 << 32) / 120);
        let back = tid.to_unix();
        assert!(since_epoch - back < Duration::from_nanos(20), "{back:?}");
    }

    /// `TimeStamp(bytes.fromhex('040d34bea3a01588')).timeTime()`, and of another one.
    #[test]
    fn seconds_are_those_of_persistent() {
        let seconds = |tid| Tid(tid).to_unix_seconds().to_bits();
        assert_eq!(seconds(0x040d_34be_a3a0_1588), 0x41da_c102_2b96_6142);
        assert_eq!(seconds(0x040d_34be_7fff_ffff), 0x41da_c102_2980_0000);
    }

    #[test]
    fn ids_have_eight_bytes() {
        assert_eq!(Oid::try_from(&[0, 0, 0, 0, 0, 0, 1, 2][..]).ok(), Some(Oid(258)));
        assert!(Oid::try_from(&b"seven.."[..]).is_err());
        assert_eq!(Tid(255).to_string(), "00000000000000ff");
    }
}
