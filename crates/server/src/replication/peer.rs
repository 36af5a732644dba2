//! Where replication listens and connects.

use std::fmt;
use std::str::FromStr;

use codecs::{Address, Endpoint};

/// `repl://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// A name or an address.
    pub host: String,
    /// 0, of a listener: the system picks one.
    pub port: u16,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("repl://").ok_or(EXPECTED)?;
        // Written as those of clients are.
        match format!("proto://{place}").parse::<Endpoint>() {
            Ok(Endpoint { address: Address::Tcp { host, port }, .. }) => Ok(Self { host, port }),
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "repl://[{host}]:{port}")
        } else {
            write!(f, "repl://{host}:{port}")
        }
    }
}

const EXPECTED: &str = "write repl://HOST:PORT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_written_as_they_are_read() {
        for text in ["repl://127.0.0.1:8102", "repl://db.example:0", "repl://[::1]:8102"] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), text);
        }
        for wrong in ["", "repl://", "repl://host", "zeo://h:1", "repl+unix:///x", "h:1"] {
            assert_eq!(wrong.parse::<Peer>().unwrap_err(), EXPECTED, "{wrong}");
        }
    }
}
