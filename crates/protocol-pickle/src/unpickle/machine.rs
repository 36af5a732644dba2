//! How the values of a pickle come to be.

use std::collections::HashMap;
use std::num::{IntErrorKind, ParseIntError};

use super::{Node, Values, WRITTEN_MAX};

/// Python's stack machine, as far as plain data need it.
#[derive(Debug, Default)]
pub(super) struct Machine<'a> {
    rest: &'a [u8],
    values: Values<'a>,
    stack: Vec<usize>,
    /// How high the stack was at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
    /// Bytes that calls have made.
    made_bytes: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self { rest: pickle, ..Self::default() }
    }

    /// Takes the whole pickle.
    pub(super) fn run(mut self) -> Result<Values<'a>, String> {
        while let Some(op) = self.next_op()? {
            self.step(op)?;
        }
        let root = self.pop()?;
        match self.rest.len() {
            0 => Ok(Values { root, ..self.values }),
            more => Err(format!("{more} bytes follow it")),
        }
    }

    /// `None`: the pickle ends here.
    fn next_op(&mut self) -> Result<Option<u8>, String> {
        let [op] = self.array()?;
        Ok((op != b'.').then_some(op))
    }

    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            // PROTO and FRAME say what need not be known.
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b')' | b']' => self.push(Node::Sequence(Vec::new())),
            b'}' => self.push(Node::Map(Vec::new())),
            b't' | b'l' => self.since_mark().and_then(|items| self.push(Node::Sequence(items))),
            b'd' => self.since_mark().and_then(|items| self.push(Node::Map(items))),
            0x85..=0x87 => {
                let items = self.topmost(usize::from(op - 0x84))?;
                self.push(Node::Sequence(items))
            }
            b'a' => self.topmost(1).and_then(|items| self.extend(items)),
            b's' => self.topmost(2).and_then(|items| self.extend(items)),
            b'e' | b'u' => self.since_mark().and_then(|items| self.extend(items)),
            // PUTs and GETs: as a line, in one byte, in four.
            b'p' => self.number().and_then(|number| self.memoize(number)),
            b'q' => self.array().map(u8::from_le_bytes).and_then(|n| self.memoize(n.into())),
            b'r' => self.array().map(u32::from_le_bytes).and_then(|n| self.memoize(n)),
            0x94 => self.memoize(u32::try_from(self.memo.len()).unwrap_or(u32::MAX)),
            b'g' => self.number().and_then(|number| self.recall(number)),
            b'h' => self.array().map(u8::from_le_bytes).and_then(|n| self.recall(n.into())),
            b'j' => self.array().map(u32::from_le_bytes).and_then(|n| self.recall(n)),
            b'o' => self.instance().and_then(|node| self.push(node)),
            b'c' => self.global().and_then(|node| self.push(node)),
            b'R' => self.call().and_then(|node| self.push(node)),
            b'b' => self.pop().and_then(|_| self.build()),
            op => self.scalar(op).and_then(|node| self.push(node)),
        }
    }

    fn scalar(&mut self, op: u8) -> Result<Node<'a>, String> {
        Ok(match op {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Node::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            0x8a => self.length1().and_then(|len| self.long(len))?,
            // INT and LONG as lines; what were truth values before protocol 2.
            b'I' | b'L' => match self.line()? {
                "00" => Node::Bool(false),
                "01" => Node::Bool(true),
                digits => match digits.trim_end_matches('L').parse() {
                    Ok(value) => Node::Int(value),
                    Err(error) if is_overflow(&error) => Node::Unfit(TOO_LARGE),
                    Err(_) => return Err(format!("{digits:?} is no integer")),
                },
            },
            // Python 2's strings, of which nobody knows what they are.
            b'U' => self.length1().and_then(|len| self.take(len)).map(text_or_bytes)?,
            b'T' => self.length4().and_then(|len| self.take(len)).map(text_or_bytes)?,
            b'C' => self.length1().and_then(|len| self.bytes(len))?,
            b'B' => self.length4().and_then(|len| self.bytes(len))?,
            0x8c => self.length1().and_then(|len| self.text(len))?,
            b'X' => self.length4().and_then(|len| self.text(len))?,
            op => return Err(format!("it has opcode {op:#04x}, which plain data do not need")),
        })
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), String> {
        self.stack.push(self.values.nodes.len());
        self.values.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = if self.stack.len() > floor { self.stack.pop() } else { None };
        top.ok_or_else(|| "it uses values that it does not have".into())
    }

    fn topmost(&mut self, count: usize) -> Result<Vec<usize>, String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn since_mark(&mut self) -> Result<Vec<usize>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// Adds to the container that is on top of the stack.
    fn extend(&mut self, more: Vec<usize>) -> Result<(), String> {
        let top = self.stack.last().and_then(|top| self.values.nodes.get_mut(*top));
        match top {
            Some(Node::Sequence(items)) => items.extend(more),
            Some(Node::Map(items)) if more.len().is_multiple_of(2) => items.extend(more),
            Some(Node::Object(..)) => {}
            _ => return Err("items have no container".into()),
        }
        Ok(())
    }

    fn global(&mut self) -> Result<Node<'a>, String> {
        let module = self.line()?;
        Ok(Node::Global(module, self.line()?))
    }

    /// What a call makes of its arguments, as far as plain data need calls.
    fn call(&mut self) -> Result<Node<'a>, String> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let node = |id: usize| self.values.nodes.get(id);
        let (Some(Node::Global(module, name)), Some(Node::Sequence(arguments))) =
            (node(called), node(arguments))
        else {
            return Err("it calls what is no function".into());
        };
        let mut values = arguments.iter().map(|id| node(*id));
        let bytes = match (*module, *name, [values.next(), values.next(), values.next()]) {
            ("__builtin__" | "builtins", "bytes", [None, ..]) => Vec::new(),
            (
                "_codecs",
                "encode",
                [Some(Some(Node::Str(text))), Some(Some(Node::Str("latin1"))), None],
            ) => {
                let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
                bytes.map_err(|_| "it has text as Latin-1 that is not in there")?
            }
            _ => return Ok(Node::Object(module, name)),
        };
        // A text that is referred to again and again would be copied as often.
        self.made_bytes += bytes.len();
        if self.made_bytes > WRITTEN_MAX {
            return Err("it makes too many bytes".into());
        }
        Ok(Node::Bytes(bytes.into()))
    }

    /// An instance of one of Python 2's classic classes: the class, then arguments.
    fn instance(&mut self) -> Result<Node<'a>, String> {
        let class = self.since_mark()?.first().and_then(|class| self.values.nodes.get(*class));
        match class {
            Some(Node::Global(module, name)) => Ok(Node::Object(module, name)),
            _ => Err("an instance has no class".into()),
        }
    }

    /// An object's state: nobody asks for it.
    fn build(&self) -> Result<(), String> {
        let object = self.stack.last().and_then(|top| self.values.nodes.get(*top));
        match object {
            Some(Node::Object(..)) => Ok(()),
            _ => Err("a state has no object".into()),
        }
    }

    fn memoize(&mut self, number: u32) -> Result<(), String> {
        let top = self.stack.last().copied().ok_or("it refers to nothing")?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), String> {
        let value = self.memo.get(&number).copied();
        self.stack.push(value.ok_or("it refers to what it does not have")?);
        Ok(())
    }

    fn long(&mut self, len: usize) -> Result<Node<'a>, String> {
        let bytes = self.take(len)?;
        if len > 16 {
            return Ok(Node::Unfit(TOO_LARGE));
        }
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 16];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(Node::Int(i128::from_le_bytes(whole)))
    }

    fn bytes(&mut self, len: usize) -> Result<Node<'a>, String> {
        self.take(len).map(|bytes| Node::Bytes(bytes.into()))
    }

    fn text(&mut self, len: usize) -> Result<Node<'a>, String> {
        let text = std::str::from_utf8(self.take(len)?);
        // Python has text with halves of characters.
        Ok(text.map_or(Node::Unfit("it has text that is not UTF-8"), Node::Str))
    }

    fn number(&mut self) -> Result<u32, String> {
        let line = self.line()?;
        line.parse().map_err(|_| format!("{line:?} is no number"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(CUT_SHORT)?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| "a line is not text".into())
    }

    fn length1(&mut self) -> Result<usize, String> {
        self.array().map(u8::from_le_bytes).map(usize::from)
    }

    fn length4(&mut self) -> Result<usize, String> {
        let length = self.array().map(u32::from_le_bytes)?;
        usize::try_from(length).map_err(|_| CUT_SHORT.into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn text_or_bytes(bytes: &[u8]) -> Node<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Node::Bytes(bytes.into()), Node::Str)
}

fn is_overflow(error: &ParseIntError) -> bool {
    matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow)
}

const TOO_LARGE: &str = "an integer of more than 128 bits";
const CUT_SHORT: &str = "it ends within a value";
