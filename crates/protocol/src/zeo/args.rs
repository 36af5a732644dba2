//! Arguments of calls: counted and typed as loosely as ZEO's clients need.

use bytes::Bytes;

use super::value::Value;
use crate::ids::{Oid, Tid};
use crate::message::{Failure, TransactionId};

/// The arguments of one call of `method`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Args<'a> {
    pub(super) method: &'static str,
    pub(super) values: Value<'a>,
}

impl<'a> Args<'a> {
    /// Exactly `N` arguments.
    pub(super) fn exactly<const N: usize>(self) -> Result<[Arg<'a>; N], Failure> {
        let values = self.values.array::<N>().ok_or_else(|| self.miscounted(N, N))?;
        Ok(values.map(|value| Arg { method: self.method, value }))
    }

    /// `N` arguments and up to `M` more; those that are not given are absent.
    pub(super) fn at_least<const N: usize, const M: usize>(
        self,
    ) -> Result<([Arg<'a>; N], [Option<Arg<'a>>; M]), Failure> {
        let arg = |value| Arg { method: self.method, value };
        let values = self.values.sequence().filter(|values| (N..=N + M).contains(&values.len()));
        let mut args = values.ok_or_else(|| self.miscounted(N, N + M))?.map(arg);
        let mut first = [arg(self.values); N];
        first.iter_mut().zip(&mut args).for_each(|(slot, arg)| *slot = arg);
        Ok((first, std::array::from_fn(|_| args.next())))
    }

    fn miscounted(self, least: usize, most: usize) -> Failure {
        let method = self.method;
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Failure::Arguments(match self.values.sequence() {
            Some(values) => {
                format!("{method}() takes {wanted} arguments but {} were given", values.len())
            }
            None => {
                format!("{method}() takes a tuple of arguments, not {}", self.values.type_name())
            }
        })
    }
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arg<'a> {
    method: &'static str,
    pub(super) value: Value<'a>,
}

impl<'a> Arg<'a> {
    pub(super) fn oid(self) -> Result<Oid, Failure> {
        let bytes = self.value.bytes().ok_or_else(|| self.mistyped("an oid"))?;
        Oid::try_from(bytes).map_err(|_| self.bad_id())
    }

    pub(super) fn tid(self) -> Result<Tid, Failure> {
        let bytes = self.value.bytes().ok_or_else(|| self.mistyped("a tid"))?;
        Tid::try_from(bytes).map_err(|_| self.bad_id())
    }

    pub(super) fn tid_or_none(self) -> Result<Option<Tid>, Failure> {
        if self.value.is_none() { Ok(None) } else { self.tid().map(Some) }
    }

    /// The serial of a write. For a new object clients send zero, `None`, or zero as text.
    pub(super) fn serial(self) -> Result<Tid, Failure> {
        match (self.value.is_none(), self.value.str()) {
            (true, _) => Ok(Tid::ZERO),
            (false, Some(text)) => Tid::try_from(text.as_bytes()).map_err(|_| self.bad_id()),
            (false, None) => self.tid(),
        }
    }

    /// Record data, or the user or description of a transaction: bytes, sometimes text.
    pub(super) fn data(self) -> Result<Bytes, Failure> {
        self.value.data().ok_or_else(|| self.mistyped("bytes"))
    }

    pub(super) fn data_or_none(self) -> Result<Option<Bytes>, Failure> {
        if self.value.is_none() { Ok(None) } else { self.data().map(Some) }
    }

    pub(super) fn str(self) -> Result<&'a str, Failure> {
        self.value.str().ok_or_else(|| self.mistyped("str"))
    }

    pub(super) fn transaction(self) -> Result<TransactionId, Failure> {
        self.value.int().map(TransactionId).ok_or_else(|| self.mistyped("a transaction id"))
    }

    pub(super) fn oid_or_none(self) -> Result<Option<Oid>, Failure> {
        if self.value.is_none() { Ok(None) } else { self.oid().map(Some) }
    }

    pub(super) fn int(self) -> Result<i128, Failure> {
        self.value.int().ok_or_else(|| self.mistyped("int"))
    }

    /// A number of things: none is asked for by a negative one.
    pub(super) fn count(self) -> Result<u32, Failure> {
        Ok(u32::try_from(self.int()?.max(0)).unwrap_or(u32::MAX))
    }

    /// The number of an iterator.
    pub(super) fn number(self) -> Result<u64, Failure> {
        u64::try_from(self.int()?).map_err(|_| self.mistyped("a number that was given out"))
    }

    pub(super) fn mistyped(self, wanted: &str) -> Failure {
        let Self { method, value } = self;
        Failure::Arguments(format!("{method}(): {wanted} is wanted, not {}", value.type_name()))
    }

    fn bad_id(self) -> Failure {
        Failure::BadId(self.value.data().unwrap_or_default())
    }
}
