//! The time at which a server started, as ZEO tells it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Tid;

/// The present in the form of C's `ctime` (`Mon Nov 23 09:10:11 2026`), in UTC: a server's local
/// time means little to who asks from elsewhere.
pub(crate) fn now() -> String {
    // A clock before 1970 counts as 1970.
    ctime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ctime(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let weekday = WEEKDAYS.into_iter().nth((seconds / 86_400 % 7) as usize).unwrap_or("");
    // A tid is a calendar already: minutes, with months of 31 days, from 1900.
    let minutes = Tid::from_unix(since_epoch).0 >> 32;
    let days = minutes / 1440;
    let month = MONTHS.into_iter().nth((days / 31 % 12) as usize).unwrap_or("");
    let (year, day) = (days / 31 / 12 + 1900, days % 31 + 1);
    let (hour, minute, second) = (minutes / 60 % 24, minutes % 60, seconds % 60);
    format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
}

/// 1970 began with a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_ctime() {
        // As printed by `TZ=UTC python -c 'import time; print(time.ctime(N))'`.
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 2000"),
            (951_868_799, "Tue Feb 29 23:59:59 2000"),
            (1_735_689_599, "Tue Dec 31 23:59:59 2024"),
            (1_795_425_011, "Mon Nov 23 09:10:11 2026"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
        ] {
            assert_eq!(ctime(Duration::from_secs(seconds)), text);
        }
    }
}
