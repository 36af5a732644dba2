//! The answer to `ruok`: what monitoring asks, without speaking any protocol.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use protocol::{Status, Tid};
use session::{Host, Hosted};
use storage::{Mailbox, PackState, Wake};

/// A JSON object: storage name to status, in the words of ZEO's `server_status`.
pub(crate) fn json(host: &Host) -> String {
    let mut storages = Object::new();
    for (name, hosted) in &host.storages {
        let status = host.status(hosted, last_transaction(hosted));
        storages.field(name, object(&status, hosted.storage.measures().pack));
    }
    storages.end()
}

/// A storage tells its last tid to whoever subscribes.
fn last_transaction(hosted: &Hosted) -> Tid {
    let mailbox = Mailbox::new(0, Arc::new(Unread));
    let tid = hosted.storage.subscribe(&mailbox);
    hosted.storage.unsubscribe(&mailbox);
    tid
}

/// Nobody looks into the mailbox.
struct Unread;

impl Wake for Unread {
    fn wake(&self) {}
}

fn object(status: &Status, pack: PackState) -> String {
    let mut object = Object::new();
    object.field("connections", status.connections);
    object.field("loads", status.loads);
    object.field("stores", status.stores);
    object.field("commits", status.commits);
    object.field("aborts", status.aborts);
    object.field("active_txns", status.active_transactions);
    match status.lock_time {
        Some(time) => object.field("lock_time", time),
        None => object.field("lock_time", "null"),
    }
    object.field("conflicts", status.conflicts);
    // Clients resolve conflicts; the word stays for those who read it.
    object.field("conflicts_resolved", 0);
    object.field("start", string(&status.start));
    object.field("waiting", status.waiting);
    match status.timeout_active {
        true => object.field("timeout-thread-is-alive", true),
        false => object.field("timeout-thread-is-alive", string("stub")),
    }
    object.field("last-transaction", string(&status.last_transaction.to_string()));
    // Not in ZEO's words: it has no way to tell. Those who know only these find no more than these
    // in a server that was asked for no pack.
    if pack.is_running || pack.parts > 0 {
        object.field("pack", pack_object(pack));
    }
    object.end()
}

/// Of the pack under way, or the last one.
fn pack_object(pack: PackState) -> String {
    let mut object = Object::new();
    object.field("running", pack.is_running);
    object.field("parts_done", pack.parts_done);
    object.field("parts", pack.parts);
    object.field("records_dropped", pack.records_dropped);
    object.field("bytes_freed", pack.bytes_freed);
    object.end()
}

/// A JSON object under construction.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a field whose value is JSON as it is displayed.
    fn field(&mut self, key: &str, value: impl Display) {
        let separator = if self.0.len() > 1 { ", " } else { "" };
        let _infallible = write!(self.0, "{separator}{}: {value}", string(key));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control.is_control() => {
                let _infallible = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(string("a\"b\\c\nd é"), r#""a\"b\\c\u000ad é""#);
    }

    #[test]
    fn packs_are_told_once_there_was_one() {
        let none = object(&Status::default(), PackState::default());
        assert!(!none.contains("pack"), "{none}");
        let running =
            PackState { is_running: true, parts: 3, bytes_freed: 7, ..PackState::default() };
        let told = r#""pack": {"running": true, "parts_done": 0, "parts": 3, "records_dropped": 0, "bytes_freed": 7}}"#;
        let status = object(&Status::default(), running);
        assert!(status.ends_with(told), "{status}");
    }

    #[test]
    fn an_object_has_fields() {
        let mut object = Object::new();
        object.field("a", 1);
        object.field("b", string("x"));
        assert_eq!(object.end(), r#"{"a": 1, "b": "x"}"#);
        assert_eq!(Object::new().end(), "{}");
    }
}
