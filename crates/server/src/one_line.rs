//! Text in the log that a peer may have chosen.

use std::fmt::{self, Display, Formatter, Write};

/// Displays what may have been chosen by a peer as a part of one line of the log: escaped, so that
/// it cannot end the line and begin one of its own, and cut off, so that it cannot fill the disk.
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut escaping = Escaping { out: f, left: MAX_CHARS };
        match write!(escaping, "{}", self.0) {
            Err(_) if escaping.left == 0 => f.write_str("..."),
            result => result,
        }
    }
}

/// Stops with an error when it has written enough, so that the rest is never made.
struct Escaping<'a, W> {
    out: &'a mut W,
    left: usize,
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            // Besides control characters there are some that change the direction of the text, or
            // cannot be seen: so this says what is known to be harmless.
            if character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric() {
                self.out.write_char(character)?;
            } else {
                write!(self.out, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

const MAX_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_one_line() {
        let text = "a 'b' é\r\nERROR \u{1b}[2J\u{2028}\u{202e}x\\n";
        let line = r"a 'b' é\r\nERROR \u{1b}[2J\u{2028}\u{202e}x\n";
        assert_eq!(OneLine(text).to_string(), line);
    }

    #[test]
    fn lines_end() {
        let line = "x".repeat(MAX_CHARS);
        assert_eq!(OneLine(&line).to_string(), line);
        assert_eq!(OneLine(line.clone() + "x").to_string(), line + "...");
        // Escaped, this would have 4 GiB.
        let failure = protocol::Failure::BadId(vec![0; 1 << 30].into());
        assert!(OneLine(failure).to_string().len() < 2 * MAX_CHARS);
    }
}
