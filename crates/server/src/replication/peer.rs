//! Where replication listens and connects.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use codecs::{Address, Endpoint};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};

use crate::options::Options;
use crate::tls;

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

/// Whom to follow, and how to connect there.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) peer: Peer,
    /// `None`: in the clear.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Source {
    /// What `options` say, if they name one.
    pub(super) fn load(options: &Options) -> anyhow::Result<Option<Self>> {
        let Some(peer) = options.replicate_from.clone() else { return Ok(None) };
        let tls = match &options.replicate_ca {
            None => None,
            Some(authorities) => {
                let config = tls::load_for_peer(&options.tls, authorities)?;
                let name = ServerName::try_from(peer.host.clone());
                let name = name.with_context(|| format!("no certificate is for {}", peer.host))?;
                Some((config, name))
            }
        };
        Ok(Some(Self { peer, tls }))
    }

    /// TLS of a new connection.
    pub(super) fn connection(&self) -> io::Result<Option<Connection>> {
        let Some((config, name)) = &self.tls else { return Ok(None) };
        let connection = ClientConnection::new(Arc::clone(config), name.clone());
        Ok(Some(connection.map_err(io::Error::other)?.into()))
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
