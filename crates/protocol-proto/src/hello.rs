//! The handshake: who speaks which version.

use prost::Message;
use protocol::{Codec, HandshakeError};

use crate::generated::{ClientHello, ServerHello};
use crate::{Proto, put};

pub(crate) fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    let hello = ServerHello {
        protocol: PROTOCOL.to_owned(),
        oldest_version: VERSION,
        newest_version: VERSION,
        software: SOFTWARE.to_owned(),
    };
    put(&hello, &mut out);
    out
}

pub(crate) fn answer(greeting: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let hello = ServerHello::decode(greeting)
        .ok()
        .filter(|hello| hello.protocol == PROTOCOL)
        .ok_or_else(|| refusal(greeting.escape_ascii().to_string()))?;
    if !(hello.oldest_version..=hello.newest_version).contains(&VERSION) {
        return Err(refusal(format!(
            "{} (protocol versions {} to {}, this client speaks {VERSION})",
            hello.software.escape_debug(),
            hello.oldest_version,
            hello.newest_version,
        )));
    }
    let mut out = Vec::new();
    let hello = ClientHello {
        protocol: PROTOCOL.to_owned(),
        version: VERSION,
        software: SOFTWARE.to_owned(),
    };
    put(&hello, &mut out);
    Ok(out)
}

pub(crate) fn accepts(answer: &[u8]) -> bool {
    ClientHello::decode(answer)
        .is_ok_and(|hello| hello.protocol == PROTOCOL && hello.version == VERSION)
}

fn refusal(greeting: String) -> HandshakeError {
    HandshakeError { wanted: Proto::NAME, greeting }
}

const PROTOCOL: &str = "zeoxide";
const VERSION: u32 = 1;
const SOFTWARE: &str = concat!("zeoxide ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_understand_each_other() {
        assert!(accepts(&answer(&greeting()).unwrap()));
    }

    #[test]
    fn a_server_of_another_protocol_is_refused() {
        for greeting in [&b"Z5"[..], b"M5", b"", b"\x0a\x07zeoxid", b"\xff\xff\xff"] {
            let error = answer(greeting).unwrap_err();
            assert_eq!(error.wanted, "proto");
            assert_eq!(error.greeting, greeting.escape_ascii().to_string());
        }
    }

    #[test]
    fn the_version_has_to_be_in_the_servers_range() {
        let offer = |protocol: &str, oldest_version, newest_version| {
            let protocol = protocol.to_owned();
            let software = "s".to_owned();
            answer(
                &ServerHello { protocol, oldest_version, newest_version, software }.encode_to_vec(),
            )
        };
        assert!(offer("zeoxide", 1, 1).is_ok());
        assert!(offer("zeoxide", 0, 9).is_ok());
        assert!(offer("zeoxide", 2, 9).is_err());
        assert!(offer("zeoxide", 0, 0).is_err());
        assert!(offer("zeoxide", 9, 0).is_err());
        assert!(offer("other", 1, 1).is_err());
    }

    #[test]
    fn a_client_that_picked_another_version_or_protocol_is_refused() {
        let picks = |protocol: &str, version| {
            let software = String::new();
            accepts(
                &ClientHello { protocol: protocol.to_owned(), version, software }.encode_to_vec(),
            )
        };
        assert!(picks("zeoxide", 1));
        assert!(!picks("zeoxide", 0));
        assert!(!picks("zeoxide", 2));
        assert!(!picks("ZEO", 1));
        for answer in [&b"Z5"[..], b"M5", b"ruok", b"", b"\x0a\xff"] {
            assert!(!accepts(answer));
        }
    }
}
