//! URLs that say where a server listens and what is spoken there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Dialect;

/// Where, and in which dialect: `zeo+msgpack://localhost:8100`, `proto+unix:///run/zeoxide`.
///
/// The schemes are `zeo` (the same as `zeo+pickle`), `zeo+msgpack` and `proto` for
/// `//HOST:PORT`, and all of them with `+unix` for `///PATH`. IPv6 addresses stand in brackets. What
/// [`fmt::Display`] prints is the canonical URL, which [`FromStr`] reads back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What is spoken; listeners for ZEO accept both of its dialects and announce this one.
    pub dialect: Dialect,
    /// Where.
    pub address: Address,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// A name or an address (of IPv6 without its brackets), not looked up here.
        host: String,
        /// 0 lets a listener pick a free one.
        port: u16,
    },
    /// A socket in the file system; a relative path is relative to the working directory.
    Unix(PathBuf),
}

/// Why a URL is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is no `://`.
    #[error("{url:?} is not a URL like zeo://HOST:PORT or zeo+unix:///PATH")]
    NoUrl {
        /// What was given.
        url: String,
    },
    /// Nobody speaks this.
    #[error("{url:?}: the scheme {scheme:?} is none of {}", schemes())]
    Scheme {
        /// What was given.
        url: String,
        /// What it begins with.
        scheme: String,
    },
    /// The host is missing or cannot be one.
    #[error("{url:?}: {host:?} is not a host name or address (IPv6 needs brackets)")]
    Host {
        /// What was given.
        url: String,
        /// Where the host should be.
        host: String,
    },
    /// The port is missing or not a number below 65536.
    #[error("{url:?} does not end in a port: {port:?}")]
    Port {
        /// What was given.
        url: String,
        /// Where the port should be.
        port: String,
    },
    /// There is no path.
    #[error("{url:?} names no path of a socket")]
    Path {
        /// What was given.
        url: String,
    },
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let (scheme, place) =
            url.split_once("://").ok_or_else(|| EndpointError::NoUrl { url: url.to_owned() })?;
        let (spoken, unix) = match scheme.strip_suffix(UNIX) {
            Some(spoken) => (spoken, true),
            None => (scheme, false),
        };
        let (_, dialect) =
            SCHEMES.into_iter().find(|(name, _)| *name == spoken).ok_or_else(|| {
                EndpointError::Scheme { url: url.to_owned(), scheme: scheme.to_owned() }
            })?;
        let address = if unix { parse_path(url, place)? } else { parse_tcp(url, place)? };
        Ok(Self { dialect, address })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, dialect)| *dialect == self.dialect);
        f.write_str(scheme.map_or_else(|| self.dialect.name(), |(name, _)| name))?;
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "://[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "://{host}:{port}"),
            Address::Unix(path) => write!(f, "{UNIX}://{}", path.display()),
        }
    }
}

fn parse_path(url: &str, path: &str) -> Result<Address, EndpointError> {
    if !path.is_empty() && !path.ends_with('/') && !path.contains('\0') {
        Ok(Address::Unix(PathBuf::from(path)))
    } else {
        Err(EndpointError::Path { url: url.to_owned() })
    }
}

fn parse_tcp(url: &str, place: &str) -> Result<Address, EndpointError> {
    let bad_host = |host: &str| EndpointError::Host { url: url.to_owned(), host: host.to_owned() };
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| bad_host(place))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad_host(host));
            }
            (host, rest.strip_prefix(':').unwrap_or(""))
        }
        None => {
            let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
            if host.is_empty() || !host.chars().all(is_host_character) {
                return Err(bad_host(host));
            }
            (host, port)
        }
    };
    // `u16::from_str` would take a plus sign.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EndpointError::Port { url: url.to_owned(), port: port.to_owned() });
    }
    let port = port
        .parse()
        .map_err(|_| EndpointError::Port { url: url.to_owned(), port: port.to_owned() })?;
    Ok(Address::Tcp { host: host.to_owned(), port })
}

fn is_host_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '-' | '_')
}

fn schemes() -> String {
    let plain = SCHEMES.map(|(name, _)| name);
    format!("{} (or these with {UNIX})", plain.join(", "))
}

/// The first scheme of a dialect is the canonical one.
const SCHEMES: [(&str, Dialect); 4] = [
    ("zeo", Dialect::Pickle),
    ("zeo+pickle", Dialect::Pickle),
    ("zeo+msgpack", Dialect::MsgPack),
    ("proto", Dialect::Proto),
];

const UNIX: &str = "+unix";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(dialect: Dialect, host: &str, port: u16) -> Endpoint {
        Endpoint { dialect, address: Address::Tcp { host: host.to_owned(), port } }
    }

    fn unix(dialect: Dialect, path: &str) -> Endpoint {
        Endpoint { dialect, address: Address::Unix(path.into()) }
    }

    #[test]
    fn every_scheme_is_read_and_printed_back() {
        for (url, endpoint, canonical) in [
            ("zeo://127.0.0.1:8100", tcp(Dialect::Pickle, "127.0.0.1", 8100), None),
            ("zeo+pickle://h:1", tcp(Dialect::Pickle, "h", 1), Some("zeo://h:1")),
            ("zeo+msgpack://my-host.example:0", tcp(Dialect::MsgPack, "my-host.example", 0), None),
            ("proto://[::1]:8101", tcp(Dialect::Proto, "::1", 8101), None),
            ("zeo+unix:///run/z", unix(Dialect::Pickle, "/run/z"), None),
            ("zeo+unix://./z", unix(Dialect::Pickle, "./z"), None),
            ("zeo+pickle+unix:///z", unix(Dialect::Pickle, "/z"), Some("zeo+unix:///z")),
            ("zeo+msgpack+unix:///a b", unix(Dialect::MsgPack, "/a b"), None),
            ("proto+unix:///z://y", unix(Dialect::Proto, "/z://y"), None),
        ] {
            assert_eq!(url.parse(), Ok(endpoint.clone()));
            assert_eq!(endpoint.to_string(), canonical.unwrap_or(url));
        }
    }

    #[test]
    fn errors_are_one_clear_sentence() {
        for (url, text) in [
            (
                "localhost:8100",
                r#""localhost:8100" is not a URL like zeo://HOST:PORT or zeo+unix:///PATH"#,
            ),
            (
                "http://h:1",
                r#""http://h:1": the scheme "http" is none of zeo, zeo+pickle, zeo+msgpack, proto (or these with +unix)"#,
            ),
            (
                "zeo://:8100",
                r#""zeo://:8100": "" is not a host name or address (IPv6 needs brackets)"#,
            ),
            (
                "zeo://::1:8100",
                r#""zeo://::1:8100": "::1" is not a host name or address (IPv6 needs brackets)"#,
            ),
            ("zeo://h", r#""zeo://h" does not end in a port: """#),
            ("zeo://h:65536", r#""zeo://h:65536" does not end in a port: "65536""#),
            ("zeo://h:80/x", r#""zeo://h:80/x" does not end in a port: "80/x""#),
            ("zeo://h:+80", r#""zeo://h:+80" does not end in a port: "+80""#),
            ("zeo+unix://z/", r#""zeo+unix://z/" names no path of a socket"#),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap_err().to_string(), text);
        }
        for url in ["zeo://[::1:80", "zeo://[x]:80", "zeo://[::1]80", "zeo+unix://", "zeo://a b:1"]
        {
            assert!(url.parse::<Endpoint>().is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_back(
            url in "(zeo|zeo\\+pickle|zeo\\+msgpack|proto)(\\+unix)?://[\\[\\]:a-z0-9./]{0,12}(:[0-9]{1,5})?"
        ) {
            if let Ok(endpoint) = url.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }

        #[test]
        fn no_text_does_harm(url: String) {
            _ = url.parse::<Endpoint>();
        }
    }
}
