//! What can be spoken on a connection, and how the two sides agree on it.

use std::fmt;

use protocol::Codec;
use protocol_msgpack::MsgPack;
use protocol_pickle::Pickle;
use protocol_proto::Proto;

/// An encoding of the protocol, as a value: what a URL or an option names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// ZEO's protocol in pickles, `Z5`.
    Pickle,
    /// ZEO's protocol in MessagePack, `M5`.
    MsgPack,
    /// The language-independent protocol, in protobuf.
    Proto,
}

/// Code that is generic over a codec, for [`dispatch`].
pub trait WithCodec {
    /// What it returns.
    type Out;

    /// Runs it with codec `C`.
    fn call<C: Codec>(self) -> Self::Out;
}

/// Runs `code` with the codec of `dialect`.
pub fn dispatch<V: WithCodec>(dialect: Dialect, code: V) -> V::Out {
    match dialect {
        Dialect::Pickle => code.call::<Pickle>(),
        Dialect::MsgPack => code.call::<MsgPack>(),
        Dialect::Proto => code.call::<Proto>(),
    }
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pickle, Self::MsgPack, Self::Proto];

    /// The codec's name, as in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pickle => Pickle::NAME,
            Self::MsgPack => MsgPack::NAME,
            Self::Proto => Proto::NAME,
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The first message of a connection, which a listener of this dialect sends.
    pub fn greeting(self) -> Vec<u8> {
        dispatch(self, Greeting)
    }

    /// What a connection speaks whose client answered `answer` to a listener of this dialect;
    /// `None`: the client is to be refused.
    ///
    /// A client of ZEO may pick either of ZEO's encodings, whichever of them was announced.
    pub fn chosen_by(self, answer: &[u8]) -> Option<Self> {
        let candidates: &[Self] = match self {
            Self::Pickle | Self::MsgPack => &[Self::Pickle, Self::MsgPack],
            Self::Proto => &[Self::Proto],
        };
        candidates.iter().copied().find(|candidate| dispatch(*candidate, Accepts(answer)))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

struct Greeting;

impl WithCodec for Greeting {
    type Out = Vec<u8>;

    fn call<C: Codec>(self) -> Vec<u8> {
        C::greeting()
    }
}

struct Accepts<'a>(&'a [u8]);

impl WithCodec for Accepts<'_> {
    type Out = bool;

    fn call<C: Codec>(self) -> bool {
        C::accepts(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer<'a>(&'a [u8]);

    impl WithCodec for Answer<'_> {
        type Out = Option<Vec<u8>>;

        fn call<C: Codec>(self) -> Option<Vec<u8>> {
            C::answer(self.0).ok()
        }
    }

    #[test]
    fn names_are_unique_and_lead_back() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::from_name(dialect.name()), Some(dialect));
        }
        assert_eq!(Dialect::from_name("json"), None);
    }

    #[test]
    fn every_client_is_understood_by_its_own_listener() {
        for dialect in Dialect::ALL {
            let answer = dispatch(dialect, Answer(&dialect.greeting())).unwrap();
            assert_eq!(dialect.chosen_by(&answer), Some(dialect));
        }
    }

    #[test]
    fn a_zeo_client_picks_its_encoding() {
        for announced in [Dialect::Pickle, Dialect::MsgPack] {
            assert_eq!(announced.chosen_by(b"Z5"), Some(Dialect::Pickle));
            assert_eq!(announced.chosen_by(b"M5"), Some(Dialect::MsgPack));
            for refused in [&b"Z4"[..], b"M4", b"X5", b"ruok", b"", b"Z55"] {
                assert_eq!(announced.chosen_by(refused), None);
            }
        }
        assert_eq!(Dialect::Proto.chosen_by(b"Z5"), None);
    }
}
