//! Pickle, read into a [`Tree`]: a stack machine that knows the opcodes of plain data alone.
//!
//! Each value's span is a pickle fragment of its own: nothing on the stack can be copied (no memo
//! is read, DUP is refused), so all that a value consists of was pushed between its first opcode
//! and its last.

use protocol::zeo::{Items, Kind, NodeId, Span, Tree};
use protocol::{Limits, Malformed};

use crate::opcode;

/// The stack and the marks on it; memory that is kept between messages.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    stack: Vec<NodeId>,
    marks: Vec<Mark>,
}

/// Where a MARK was.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// How many values were on the stack.
    height: usize,
    /// Its offset in the frame.
    start: usize,
}

impl Machine {
    /// Reads `frame`, which has to be exactly one pickle.
    pub(crate) fn parse(
        &mut self,
        frame: &[u8],
        limits: &Limits,
        tree: &mut Tree,
    ) -> Result<NodeId, Malformed> {
        tree.reset(limits);
        self.stack.clear();
        self.marks.clear();
        Run { frame, position: 0, depth: limits.depth, tree, machine: self }.whole()
    }

    /// Gives back what a huge message has left.
    pub(crate) fn release(&mut self) {
        if self.stack.capacity() > KEPT_VALUES {
            self.stack = Vec::new();
        }
    }
}

/// One message being read.
struct Run<'a> {
    frame: &'a [u8],
    /// Never behind the end of `frame`.
    position: usize,
    depth: usize,
    tree: &'a mut Tree,
    machine: &'a mut Machine,
}

impl<'a> Run<'a> {
    fn whole(mut self) -> Result<NodeId, Malformed> {
        if self.frame.first() == Some(&opcode::PROTO) {
            let [_, protocol] = self.array()?;
            if protocol > HIGHEST_PROTOCOL {
                return Err(Malformed(format!("pickle protocol {protocol}")));
            }
        }
        loop {
            let start = self.position;
            let [op] = self.array()?;
            if op == opcode::STOP {
                return self.stop();
            }
            self.step(op, start)?;
        }
    }

    fn stop(mut self) -> Result<NodeId, Malformed> {
        let root = self.pop()?;
        match self.frame.len() - self.position {
            0 if self.machine.stack.is_empty() && self.machine.marks.is_empty() => Ok(root),
            0 => Err(Malformed("a pickle that leaves values behind".into())),
            rest => Err(Malformed(format!("{rest} bytes after the pickle"))),
        }
    }

    fn step(&mut self, op: u8, start: usize) -> Result<(), Malformed> {
        let kind = match op {
            opcode::NONE => Kind::None,
            opcode::NEWTRUE => Kind::Bool(true),
            opcode::NEWFALSE => Kind::Bool(false),
            opcode::BININT => Kind::Int(i32::from_le_bytes(self.array()?).into()),
            opcode::BININT1 => Kind::Int(u8::from_le_bytes(self.array()?).into()),
            opcode::BININT2 => Kind::Int(u16::from_le_bytes(self.array()?).into()),
            opcode::LONG1 => self.length1().and_then(|len| self.long(len))?,
            opcode::LONG4 => self.length4().and_then(|len| self.long(len))?,
            opcode::BINFLOAT => Kind::Float(f64::from_be_bytes(self.array()?)),
            opcode::SHORT_BINBYTES => self.length1().and_then(|len| self.bytes(len))?,
            opcode::BINBYTES => self.length4().and_then(|len| self.bytes(len))?,
            opcode::BINBYTES8 => self.length8().and_then(|len| self.bytes(len))?,
            opcode::SHORT_BINUNICODE => self.length1().and_then(|len| self.text(len))?,
            opcode::BINUNICODE => self.length4().and_then(|len| self.text(len))?,
            opcode::BINUNICODE8 => self.length8().and_then(|len| self.text(len))?,
            opcode::EMPTY_TUPLE => Kind::Tuple(Items::EMPTY),
            opcode::EMPTY_LIST => Kind::List(Items::EMPTY),
            opcode::EMPTY_DICT => Kind::Map(Items::EMPTY),
            op => return self.structure(op, start),
        };
        let id = self.tree.add(kind, Span::new(start, self.position))?;
        self.machine.stack.push(id);
        Ok(())
    }

    /// Opcodes that change what is on the stack.
    fn structure(&mut self, op: u8, start: usize) -> Result<(), Malformed> {
        match op {
            opcode::MARK => self.mark(start),
            opcode::TUPLE => {
                let mark = self.unmark()?;
                self.tuple(mark.height, mark.start)
            }
            opcode::TUPLE1 => self.short_tuple(1),
            opcode::TUPLE2 => self.short_tuple(2),
            opcode::TUPLE3 => self.short_tuple(3),
            opcode::APPEND => self.append(1, is_list),
            opcode::APPENDS => self.append_marked(is_list),
            opcode::SETITEM => self.append(2, is_map),
            opcode::SETITEMS => self.append_marked(is_map),
            opcode::BINPUT => self.skip(1),
            opcode::LONG_BINPUT => self.skip(4),
            opcode::MEMOIZE => Ok(()),
            opcode::FRAME => self.skip(8),
            opcode::GLOBAL => self.global(start),
            opcode::NEWOBJ => self.new_object(),
            opcode::BUILD => self.build(),
            opcode::REDUCE => self.dict_of_items(),
            op => Err(Malformed(format!("pickle opcode {op:#04x} is refused"))),
        }
    }

    fn mark(&mut self, start: usize) -> Result<(), Malformed> {
        if self.machine.marks.len() >= self.depth {
            return Err(Malformed(format!("more than {} open marks", self.depth)));
        }
        self.machine.marks.push(Mark { height: self.machine.stack.len(), start });
        Ok(())
    }

    fn unmark(&mut self) -> Result<Mark, Malformed> {
        self.machine.marks.pop().ok_or_else(|| Malformed("a mark is missing".into()))
    }

    fn short_tuple(&mut self, len: usize) -> Result<(), Malformed> {
        let height = self.below(len)?;
        let first = self.machine.stack.get(height).copied();
        let start = first.map_or(self.position, |id| self.tree.node(id).span.range().start);
        self.tuple(height, start)
    }

    /// Makes one tuple of all above `height`.
    fn tuple(&mut self, height: usize, start: usize) -> Result<(), Malformed> {
        let span = Span::new(start, self.position);
        let tuple = self.tree.add(Kind::Tuple(Items::EMPTY), span)?;
        self.move_into(tuple, height)?;
        self.machine.stack.push(tuple);
        Ok(())
    }

    /// Moves the topmost `len` values into the container below them.
    fn append(&mut self, len: usize, fits: fn(Kind) -> bool) -> Result<(), Malformed> {
        let height = self.below(len)?;
        self.fill(height, fits)
    }

    /// Moves the values above the last mark into the container below it.
    fn append_marked(&mut self, fits: fn(Kind) -> bool) -> Result<(), Malformed> {
        let mark = self.unmark()?;
        self.fill(mark.height, fits)
    }

    fn fill(&mut self, height: usize, fits: fn(Kind) -> bool) -> Result<(), Malformed> {
        let floor = self.floor();
        let container = height
            .checked_sub(1)
            .filter(|index| *index >= floor)
            .and_then(|index| self.machine.stack.get(index))
            .copied()
            .filter(|id| fits(self.tree.node(*id).kind))
            .ok_or_else(|| Malformed("items without their container".into()))?;
        let count = self.machine.stack.len().saturating_sub(height);
        if is_map(self.tree.node(container).kind) && !count.is_multiple_of(2) {
            return Err(Malformed("a key without a value".into()));
        }
        self.move_into(container, height)?;
        self.tree.extend(container, Span::new(0, self.position).end);
        Ok(())
    }

    fn move_into(&mut self, container: NodeId, height: usize) -> Result<(), Malformed> {
        let height = height.min(self.machine.stack.len());
        let tree = &mut *self.tree;
        self.machine.stack.drain(height..).try_for_each(|child| tree.append(container, child))
    }

    /// `ZopeUndo.Prefix.Prefix` and `dict`, and nothing else, may be named; nothing is imported for
    /// them.
    fn global(&mut self, start: usize) -> Result<(), Malformed> {
        let rest = self.frame.get(self.position..).unwrap_or_default();
        let classes = [
            (opcode::PREFIX_CLASS, Kind::Prefix(Items::EMPTY)),
            (opcode::DICT_CLASS, Kind::Map(Items::EMPTY)),
        ];
        let Some((name, class)) = classes.into_iter().find(|(name, _)| rest.starts_with(name))
        else {
            return Err(Malformed("a pickle that asks for an import".into()));
        };
        self.position += name.len();
        let id = self.tree.add(class, Span::new(start, self.position))?;
        self.machine.stack.push(id);
        Ok(())
    }

    /// An instance is the class without arguments; its node is that of the class.
    fn new_object(&mut self) -> Result<(), Malformed> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let plain = self.tree.node(arguments).kind == Kind::Tuple(Items::EMPTY);
        if !plain || self.tree.node(class).kind != Kind::Prefix(Items::EMPTY) {
            return Err(Malformed("an object with arguments".into()));
        }
        self.tree.extend(class, Span::new(0, self.position).end);
        self.machine.stack.push(class);
        Ok(())
    }

    /// `dict(items)`, as a class derived from it may be pickled. The node is that of the class.
    fn dict_of_items(&mut self) -> Result<(), Malformed> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let wrong = || Malformed("a call of something else than dict with items".into());
        if self.tree.node(class).kind != Kind::Map(Items::EMPTY) {
            return Err(wrong());
        }
        let [items] = self.children(arguments)[..] else {
            return Err(wrong());
        };
        for item in self.children(items) {
            let [key, value] = self.children(item)[..] else {
                return Err(wrong());
            };
            self.tree.append(class, key)?;
            self.tree.append(class, value)?;
        }
        self.tree.extend(class, Span::new(0, self.position).end);
        self.machine.stack.push(class);
        Ok(())
    }

    /// The elements of a tuple or a list.
    fn children(&self, sequence: NodeId) -> Vec<NodeId> {
        match self.tree.node(sequence).kind {
            Kind::Tuple(items) | Kind::List(items) => self.tree.items(items).collect(),
            _ => Vec::new(),
        }
    }

    /// The object's state becomes its only child.
    fn build(&mut self) -> Result<(), Malformed> {
        let state = self.machine.stack.last().map(|state| self.tree.node(*state).kind);
        if !state.is_some_and(is_map) {
            return Err(Malformed("an object's state is a dict".into()));
        }
        self.append(1, |kind| kind == Kind::Prefix(Items::EMPTY))
    }

    fn pop(&mut self) -> Result<NodeId, Malformed> {
        self.below(1)?;
        self.machine.stack.pop().ok_or_else(underflow)
    }

    /// The height of the stack below its topmost `len` values, all of them above the last mark.
    fn below(&self, len: usize) -> Result<usize, Malformed> {
        let height = self.machine.stack.len().checked_sub(len);
        height.filter(|height| *height >= self.floor()).ok_or_else(underflow)
    }

    /// What is below belongs to an open mark.
    fn floor(&self) -> usize {
        self.machine.marks.last().map_or(0, |mark| mark.height)
    }

    fn long(&mut self, len: usize) -> Result<Kind, Malformed> {
        let (bytes, span) = self.take(len)?;
        let Some(bytes) = bytes.first_chunk::<8>().filter(|_| len == 8) else {
            return Ok(Kind::Long(span));
        };
        Ok(Kind::Int(i64::from_le_bytes(*bytes)))
    }

    fn bytes(&mut self, len: usize) -> Result<Kind, Malformed> {
        self.take(len).map(|(_, span)| Kind::Bytes(span))
    }

    fn text(&mut self, len: usize) -> Result<Kind, Malformed> {
        let (bytes, span) = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(Kind::Str(span)),
            Err(_) => Err(Malformed("text that is not UTF-8".into())),
        }
    }

    fn length1(&mut self) -> Result<usize, Malformed> {
        self.array().map(u8::from_le_bytes).map(usize::from)
    }

    fn length4(&mut self) -> Result<usize, Malformed> {
        let len = self.array().map(u32::from_le_bytes)?;
        usize::try_from(len).map_err(|_| cut_short())
    }

    fn length8(&mut self) -> Result<usize, Malformed> {
        let len = self.array().map(u64::from_le_bytes)?;
        usize::try_from(len).map_err(|_| cut_short())
    }

    fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.take(len).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = self.frame.get(self.position..).unwrap_or_default();
        let array = rest.first_chunk().ok_or_else(cut_short)?;
        self.position += N;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<(&'a [u8], Span), Malformed> {
        let start = self.position;
        let end = start.checked_add(len).ok_or_else(cut_short)?;
        let bytes = self.frame.get(start..end).ok_or_else(cut_short)?;
        self.position = end;
        Ok((bytes, Span::new(start, end)))
    }
}

fn is_list(kind: Kind) -> bool {
    matches!(kind, Kind::List(_))
}

fn is_map(kind: Kind) -> bool {
    matches!(kind, Kind::Map(_))
}

fn cut_short() -> Malformed {
    Malformed("it ends within a value".into())
}

fn underflow() -> Malformed {
    Malformed("a pickle that uses values it does not have".into())
}

/// Python's highest protocol.
const HIGHEST_PROTOCOL: u8 = 5;

/// Above this many values on the stack memory goes back after the message.
const KEPT_VALUES: usize = 4096;
