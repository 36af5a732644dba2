//! A decoded message as an arena of nodes: built in one pass over the frame, nothing copied,
//! memory kept for the next message.

use crate::codec::{Limits, Malformed};

/// The values of one message.
///
/// Invariants: a node's span lies within the frame and holds exactly that value's encoding;
/// children are linked in order; no container is higher than the limits allow, so recursion over
/// a tree is bounded.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    limits: Limits,
}

/// Names a node of one [`Tree`], until its [`Tree::reset`] or [`Tree::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(u32);

/// A range of the frame. Frames have a 4-byte length, so 32 bits are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Python's `None`, MessagePack's nil.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer above [`i64::MAX`] (MessagePack has them up to 64 bits).
    Uint(u64),
    /// An integer as little-endian two's complement (pickle has them of any length).
    Long(Span),
    /// A double.
    Float(f64),
    /// Bytes.
    Bytes(Span),
    /// Text, checked to be UTF-8.
    Str(Span),
    /// A tuple; in MessagePack every array.
    Tuple(Items),
    /// A list.
    List(Items),
    /// A map: keys and values take turns.
    Map(Items),
    /// `ZopeUndo.Prefix.Prefix`, the one object that a ZEO client may send; its state, if it has
    /// one.
    Prefix(Items),
    /// A whole value that means nothing to this protocol (a MessagePack extension type).
    Other,
}

/// The children of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items {
    first: NodeId,
    last: NodeId,
    len: u32,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where its encoding stands.
    pub span: Span,
    next: NodeId,
    /// 0 for a leaf, one more than the highest child for a container.
    height: u32,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self { nodes: Vec::new(), limits: Limits::default() }
    }

    /// Forgets the last message; the next one must keep to `limits`.
    pub fn reset(&mut self, limits: &Limits) {
        self.nodes.clear();
        self.limits = *limits;
    }

    /// Forgets a message that was huge, and gives its memory back.
    pub fn release(&mut self) {
        if self.nodes.capacity() > KEPT_NODES {
            self.nodes = Vec::new();
        }
    }

    /// Adds a value; containers start empty.
    pub fn add(&mut self, kind: Kind, span: Span) -> Result<NodeId, Malformed> {
        let id = u32::try_from(self.nodes.len()).unwrap_or(NONE.0);
        if self.nodes.len() >= self.limits.values || id == NONE.0 {
            return Err(Malformed(format!("more than {} values", self.limits.values)));
        }
        self.nodes.push(Node { kind, span, next: NONE, height: 0 });
        Ok(NodeId(id))
    }

    /// Makes `child`, which is whole, the last child of `parent`.
    pub fn append(&mut self, parent: NodeId, child: NodeId) -> Result<(), Malformed> {
        let height = self.node(child).height + 1;
        if usize::try_from(height).is_ok_and(|height| height > self.limits.depth) {
            return Err(Malformed(format!("nested deeper than {}", self.limits.depth)));
        }
        let Some(node) = self.nodes.get_mut(parent.index()) else { return Ok(()) };
        node.height = node.height.max(height);
        let (Kind::Tuple(items) | Kind::List(items) | Kind::Map(items) | Kind::Prefix(items)) =
            &mut node.kind
        else {
            return Err(Malformed("a value without room for others is given some".into()));
        };
        let last = std::mem::replace(&mut items.last, child);
        items.len += 1;
        if items.first == NONE {
            items.first = child;
        } else if let Some(last) = self.nodes.get_mut(last.index()) {
            last.next = child;
        }
        Ok(())
    }

    /// Moves the end of a container's span behind what was appended.
    pub fn extend(&mut self, id: NodeId, end: u32) {
        if let Some(node) = self.nodes.get_mut(id.index()) {
            node.span.end = end;
        }
    }

    /// A node. Ids come from this tree alone, so the fallback for a foreign one is never seen.
    pub fn node(&self, id: NodeId) -> Node {
        const ABSENT: Node =
            Node { kind: Kind::None, span: Span { start: 0, end: 0 }, next: NONE, height: 0 };
        self.nodes.get(id.index()).copied().unwrap_or(ABSENT)
    }

    /// The children, in order.
    pub fn items(&self, items: Items) -> impl ExactSizeIterator<Item = NodeId> {
        let mut next = items.first;
        (0..items.len).map(move |_| {
            let id = next;
            next = self.node(id).next;
            id
        })
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeId {
    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    /// The span `start..end`; offsets beyond 32 bits cannot be, see [`Span`].
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    /// For slicing.
    pub fn range(self) -> std::ops::Range<usize> {
        let offset = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        offset(self.start)..offset(self.end)
    }
}

impl Items {
    /// No children.
    pub const EMPTY: Self = Self { first: NONE, last: NONE, len: 0 };

    /// How many there are (a map has two for each entry).
    #[expect(clippy::len_without_is_empty, reason = "containers are compared with what is wanted")]
    pub fn len(self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
}

/// Stands for "no node".
const NONE: NodeId = NodeId(u32::MAX);

/// Above this many nodes (128 KiB) memory goes back after the message.
const KEPT_NODES: usize = 4096;
