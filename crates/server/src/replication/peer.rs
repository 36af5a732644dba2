//! Where replication listens and connects.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use codecs::{Address, Endpoint};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};
use socket2::Socket;
use zrs::Version;

use crate::options::Options;
use crate::tls;

/// `repl://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(super) scheme: &'static str,
    /// A name or an address.
    pub(crate) host: String,
    /// 0, of a listener: the system picks one.
    pub(crate) port: u16,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("repl://").ok_or(EXPECTED)?;
        // Written as those of clients are.
        match format!("proto://{place}").parse::<Endpoint>() {
            Ok(Endpoint { address: Address::Tcp { host, port }, .. }) => {
                Ok(Self { scheme: "repl://", host, port })
            }
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}[{host}]:{port}")
        } else {
            write!(f, "{scheme}{host}:{port}")
        }
    }
}

impl Peer {
    /// Connects to the first of its addresses that answers.
    pub(super) fn connect(&self) -> io::Result<Socket> {
        let mut last = io::Error::other("the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(stream) => return Ok(stream.into()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Whom a server can follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// `repl://HOST:PORT`: a server of ours.
    Ours(Peer),
    /// `zrs://HOST:PORT`, or `zrs2.0://HOST:PORT` for a primary that does not know blobs: one of zc.zrs.
    Zrs(Peer, Version),
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zrs = [("zrs://", Version::Zrs21), ("zrs2.0://", Version::Zrs20)];
        for (scheme, version) in zrs {
            if let Some(place) = text.strip_prefix(scheme) {
                let peer = format!("repl://{place}").parse::<Peer>();
                let peer = peer.map_err(|_| format!("write {scheme}HOST:PORT"))?;
                return Ok(Self::Zrs(Peer { scheme, ..peer }, version));
            }
        }
        text.parse().map(Self::Ours)
    }
}

/// A server of ours that is followed, and how to connect there.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) peer: Peer,
    /// `None`: in the clear.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Source {
    /// `peer`, as `options` say.
    pub(super) fn load(peer: Peer, options: &Options) -> anyhow::Result<Self> {
        let tls = match &options.replicate_ca {
            None => None,
            Some(authorities) => {
                let config = tls::load_for_peer(&options.tls, authorities)?;
                let name = ServerName::try_from(peer.host.clone());
                let name = name.with_context(|| format!("no certificate is for {}", peer.host))?;
                Some((config, name))
            }
        };
        Ok(Self { peer, tls })
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
        for text in ["zrs://127.0.0.1:8102", "zrs2.0://[::1]:9"] {
            let Ok(Upstream::Zrs(peer, _)) = text.parse() else { panic!("{text}") };
            assert_eq!(peer.to_string(), text);
        }
        assert_eq!("zrs://h".parse::<Upstream>().unwrap_err(), "write zrs://HOST:PORT");
        assert!(matches!("repl://h:1".parse(), Ok(Upstream::Ours(_))));
        for wrong in ["", "repl://", "repl://host", "zeo://h:1", "repl+unix:///x", "h:1"] {
            assert_eq!(wrong.parse::<Peer>().unwrap_err(), EXPECTED, "{wrong}");
        }
    }
}
