//! Addresses as ZEO writes them.

use std::str::FromStr;

use codecs::{Address, Dialect, Endpoint};

/// `HOST:PORT`, `PORT`, or the path of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZeoAddress(Address);

impl ZeoAddress {
    pub(super) fn endpoint(&self, dialect: Dialect) -> Endpoint {
        Endpoint { dialect, address: self.0.clone() }
    }
}

impl FromStr for ZeoAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains('/') {
            format!("zeo+unix://{text}")
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("zeo://{ALL}:{text}")
        } else if text.starts_with(':') {
            format!("zeo://{ALL}{text}")
        } else {
            format!("zeo://{text}")
        };
        url.parse::<Endpoint>().map(|endpoint| Self(endpoint.address)).map_err(|_| {
            "write HOST:PORT, PORT, or the path of a unix socket, which has a '/' in it".to_owned()
        })
    }
}

/// All interfaces.
const ALL: &str = "0.0.0.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_zeo() {
        for (text, url) in [
            ("8100", "zeo://0.0.0.0:8100"),
            (":8100", "zeo://0.0.0.0:8100"),
            ("zeo.example:8100", "zeo://zeo.example:8100"),
            ("[::1]:0", "zeo://[::1]:0"),
            ("/run/zeo.sock", "zeo+unix:///run/zeo.sock"),
            ("var/zeo.sock", "zeo+unix://var/zeo.sock"),
        ] {
            let address: ZeoAddress = text.parse().unwrap();
            assert_eq!(address.endpoint(Dialect::Pickle).to_string(), url);
        }
        for wrong in ["", "host", "host:", "::1", "0.0.0.0:x", "99999", "/run/"] {
            assert!(wrong.parse::<ZeoAddress>().unwrap_err().contains("HOST:PORT"), "{wrong}");
        }
    }
}
