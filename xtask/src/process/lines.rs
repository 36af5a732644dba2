//! What commands print, passed on at once; the last lines are kept, so that a failure can be told
//! again where people (and build machines) look first.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::thread;

static LAST: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// How many lines are kept.
const KEPT: usize = 40;

/// Passes on `from` line by line until it ends, on a thread of its own, and then says so.
pub(super) fn pass_on_beside<W: Write + 'static>(
    from: impl Read + Send + 'static,
    to: fn() -> W,
    ended: Sender<()>,
) {
    thread::spawn(move || {
        pass_on(from, &mut to());
        // The other side may have stopped waiting.
        let _ = ended.send(());
    });
}

fn pass_on(from: impl Read, to: &mut impl Write) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // A broken pipe on either side ends what can be passed on; the child is not to blame.
    while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let _ = to.write_all(&line).and_then(|()| to.flush());
        keep(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

fn keep(line: String) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.len() == KEPT {
        last.pop_front();
    }
    last.push_back(line);
}

/// The lines that were kept, oldest first.
pub(super) fn take() -> Vec<String> {
    mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner)).into()
}
