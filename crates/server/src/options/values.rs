//! Values of options, from their text.

use tracing::level_filters::LevelFilter;

/// A number of bytes, or none.
pub(super) fn cache_bytes(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { bytes(text) }
}

/// A number of bytes that one message may have: the length prefix has 32 bits.
pub(super) fn message_bytes(text: &str) -> Result<usize, String> {
    let count = bytes(text)?;
    if u32::try_from(count).is_err() {
        return Err("a message has at most 4294967295 bytes".to_owned());
    }
    Ok(count)
}

/// A number, optionally with a binary unit. Less than a kilobyte would refuse every client.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    let count: usize = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or("not a number of bytes; write for example 65536, 64K, 16M or 1G")?;
    match count.checked_mul(1 << shift) {
        Some(count) if count >= 1024 => Ok(count),
        Some(_) => Err("too small, the least is 1K".to_owned()),
        None => Err("too large".to_owned()),
    }
}

/// A length of time in whole seconds; parts of one are rounded up, to wait no less than was asked.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let seconds = seconds.ceil();
    if (1.0..=f64::from(u32::MAX)).contains(&seconds) {
        Ok(seconds as u32)
    } else {
        Err("not a number of seconds from 1 to 4294967295".to_owned())
    }
}

/// A truth value, in the words of ZConfig and of environments, where nothing is no.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "" | "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// Permission bits.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write permission bits in octal, for example 660".to_owned()),
    }
}

/// A level of the log, by name.
pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    // `LevelFilter` would also take numbers, which mean nothing to a reader.
    match text {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => {
            text.parse().map_err(|_| format!("no such level: {text}"))
        }
        _ => Err("one of off, error, warn, info, debug, trace".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_some() {
        for (text, count) in [("30", 30), ("30.0", 30), ("0.2", 1), ("1.5", 2), ("1e3", 1000)] {
            assert_eq!(seconds(text), Ok(count));
        }
        for wrong in ["", "0", "-1", "nan", "inf", "1e10", "5 s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("2M"), Ok(2 << 20));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        for wrong in ["", "K", "-1", "1.5M", "1T", "12 K", "1023", "99999999999G", "١K"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert!(message_bytes("4G").is_err());
    }
}
