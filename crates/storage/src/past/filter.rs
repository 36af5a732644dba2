//! Which transactions an undo log is asked for.

use bytes::Bytes;
use protocol::zeo::{NodeId, Tree, Value, msgpack};
use protocol::{Limits, TransactionHead, Wanted};

/// Entries that a transaction must have: `user_name`, `description`, or what its extension says.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    entries: &'a [(String, Wanted)],
    /// Of the entry that is wanted, and of the extension.
    trees: [Tree; 2],
}

impl<'a> Filter<'a> {
    pub(super) fn new(entries: &'a [(String, Wanted)]) -> Self {
        Self { entries, trees: [Tree::new(), Tree::new()] }
    }

    /// Whether a transaction has all that is wanted.
    pub(super) fn passes(&mut self, head: &TransactionHead) -> bool {
        let [wanted_tree, tree] = &mut self.trees;
        let extension = (!self.entries.is_empty()).then(|| parse(&head.extension, tree)).flatten();
        self.entries.iter().all(|(key, wanted)| {
            let entry = extension.and_then(|root| Value::new(tree, &head.extension, root).get(key));
            let own = match key.as_str() {
                "user_name" => Some(&head.user[..]),
                "description" => Some(&head.description[..]),
                _ => None,
            };
            match (wanted, entry, own) {
                (Wanted::Prefix(prefix), Some(entry), _) => {
                    entry.data().is_some_and(|text| is_below(prefix, &text))
                }
                (Wanted::Prefix(prefix), None, Some(own)) => is_below(prefix, own),
                (Wanted::Value(value), Some(entry), _) => parse(value, wanted_tree)
                    .is_some_and(|root| equal(Value::new(wanted_tree, value, root), entry)),
                (Wanted::Value(value), None, Some(own)) => parse(value, wanted_tree)
                    .and_then(|root| Value::new(wanted_tree, value, root).data())
                    .is_some_and(|value| value == own),
                (_, None, None) => false,
            }
        })
    }
}

fn parse(bytes: &Bytes, tree: &mut Tree) -> Option<NodeId> {
    msgpack::parse(bytes, &Limits::default(), tree).ok()
}

/// As Python compares, but that text and bytes of the same content are equal.
fn equal(one: Value<'_>, two: Value<'_>) -> bool {
    if let (Some(one), Some(two)) = (one.data(), two.data()) {
        return one == two;
    }
    if let (Some(one), Some(two)) = (one.int(), two.int()) {
        return one == two;
    }
    if let (Some(one), Some(two)) = (one.float(), two.float()) {
        return one == two;
    }
    match (one.sequence(), two.sequence()) {
        (Some(one), Some(two)) => one.len() == two.len() && one.zip(two).all(|(a, b)| equal(a, b)),
        _ => one.raw() == two.raw(),
    }
}

/// Whether `path` is `prefix` or below it. As for Python's `ZopeUndo.Prefix`, what follows a blank
/// in the last part is no part of the path.
fn is_below(prefix: &str, path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else {
        return false;
    };
    let mut parts: Vec<&str> = path.split('/').collect();
    if let Some(last) = parts.last_mut()
        && let Some((name, _)) = last.rsplit_once(' ')
    {
        *last = name;
    }
    let prefix: Vec<&str> = prefix.split('/').collect();
    parts.starts_with(&prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(entries: &[(&str, Wanted)]) -> bool {
        let entries: Vec<_> =
            entries.iter().map(|(key, wanted)| ((*key).to_owned(), wanted.clone())).collect();
        let head = TransactionHead {
            tid: protocol::Tid(1),
            status: b' ',
            user: "/acl joe".into(),
            description: "/a/b edited".into(),
            // {"n": 300, "who": b"me", "list": [1]}
            extension: Bytes::from_static(
                b"\x83\xa1n\xcd\x01\x2c\xa3who\xc4\x02me\xa4list\x91\x01",
            ),
        };
        Filter::new(&entries).passes(&head)
    }

    fn value(bytes: &'static [u8]) -> Wanted {
        Wanted::Value(Bytes::from_static(bytes))
    }

    #[test]
    fn every_entry_must_be_as_wanted() {
        assert!(passes(&[]));
        assert!(passes(&[("user_name", value(b"\xa8/acl joe"))]));
        assert!(passes(&[("user_name", value(b"\xc4\x08/acl joe"))]), "as bytes");
        assert!(!passes(&[("user_name", value(b"\xa3joe"))]));
        assert!(passes(&[("n", value(b"\xce\x00\x00\x01\x2c")), ("who", value(b"\xa2me"))]));
        assert!(!passes(&[("n", value(b"\x01")), ("who", value(b"\xa2me"))]));
        assert!(passes(&[("list", value(b"\xdc\x00\x01\xd0\x01"))]), "in another encoding");
        assert!(!passes(&[("absent", value(b"\xc0"))]));
        assert!(!passes(&[("n", value(b""))]), "no value at all");
    }

    #[test]
    fn a_prefix_is_of_whole_parts() {
        let below = |prefix: &str| passes(&[("description", Wanted::Prefix(prefix.to_owned()))]);
        assert!(below("/a"));
        assert!(below("/a/b"));
        assert!(!below("/a/bc"));
        assert!(!below("/a/b/c"));
        assert!(!passes(&[("n", Wanted::Prefix(String::new()))]), "a number is no path");
    }
}
