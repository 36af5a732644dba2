//! TLS of servers under test: certificates for those that are started here, and whom to trust.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use client::Tls;
use pem::Pem;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use serde::{Deserialize, Serialize};

/// Whom a worker trusts, on whatever host it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trust {
    /// Certificates of authorities, in PEM.
    pub(crate) authorities: String,
    /// Whom the server's certificate has to be for.
    pub(crate) server_name: String,
}

impl Trust {
    /// What connections need. Each of them shakes hands wholly, as the first one of a client does:
    /// Python's clients resume nothing.
    pub(crate) fn tls(&self) -> anyhow::Result<Tls> {
        // The client reads files.
        let mut file = tempfile::NamedTempFile::new().context("a file for certificates")?;
        file.write_all(self.authorities.as_bytes()).context("a file for certificates")?;
        let Tls { config, server_name } = Tls::from_files(file.path(), None, &self.server_name)?;
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        Ok(Tls { config: Arc::new(config), server_name })
    }

    /// Trusts the authorities in a file with a server at `HOST:PORT`.
    pub(crate) fn read(
        file: &Path,
        server_name: Option<&str>,
        address: &str,
    ) -> anyhow::Result<Self> {
        let authorities = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let server_name = server_name.unwrap_or_else(|| host.trim_matches(['[', ']'])).to_owned();
        Ok(Self { authorities, server_name })
    }

    /// Makes a certificate for a server on this machine, in the file `tls.pem` of its folder, with
    /// the private key.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let server_name = "127.0.0.1".to_owned();
        let made = generate_simple_self_signed([server_name.clone()]);
        let CertifiedKey { cert, signing_key } = made.context("a certificate")?;
        let authorities = pem::encode(&Pem::new("CERTIFICATE", cert.der().to_vec()));
        let key = pem::encode(&Pem::new("PRIVATE KEY", signing_key.serialize_der()));
        let file = folder.join("tls.pem");
        fs::write(&file, authorities.clone() + &key).with_context(|| file.display().to_string())?;
        Ok(Self { authorities, server_name })
    }
}
