//! TLS: what the operator's files say, and the layer between a socket's bytes and a session's.
//!
//! Start reading at [`layer`].

mod clients;
mod key;
mod layer;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use pem::Pem;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

use crate::options;

pub(crate) use layer::Layer;

/// Reads the files that `options` name; `None` without a certificate. Whatever would fail later, at
/// the first client, fails here.
pub(crate) fn load(options: &options::Tls) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let provider = Arc::new(ring::default_provider());
    let Some(own) = own_certificate(options, &provider)? else { return Ok(None) };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &options.tls_client_ca {
        Some(path) => builder.with_client_cert_verifier(clients::verifier(path, &provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(own);
    // Connections last for days, so there is nothing to gain from resuming a session; and who was
    // let in once must not get in again without a certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

/// How to connect to another server whose certificate must be signed by an authority in the file
/// `authorities`; this server shows its own, if it has one.
pub(crate) fn load_for_peer(
    options: &options::Tls,
    authorities: &Path,
) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&blocks(authorities)?) {
        roots.add(authority).with_context(|| {
            format!("there is an authority in {} that cannot be used", authorities.display())
        })?;
    }
    if roots.is_empty() {
        bail!("there is no certificate in {}", authorities.display());
    }
    let own = own_certificate(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match own {
        Some(own) => builder.with_client_cert_resolver(own),
        None => builder.with_no_client_auth(),
    }))
}

fn own_certificate(
    options: &options::Tls,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Option<Arc<SingleCertAndKey>>> {
    let Some(file) = &options.tls_cert else { return Ok(None) };
    let chain = certificates(&blocks(file)?);
    if chain.is_empty() {
        bail!("there is no certificate in {}", file.display());
    }
    let key_file = options.tls_key.as_deref().unwrap_or(file);
    let key = key::load(key_file, options.tls_key_password_file.as_deref(), provider)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: a kind of key that does not tell its public half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => (),
        Err(rustls::Error::InconsistentKeys(_)) => bail!(
            "the private key in {} does not belong to the first certificate in {}",
            key_file.display(),
            file.display()
        ),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot use {}", file.display()));
        }
    }
    Ok(Some(Arc::new(SingleCertAndKey::from(certified))))
}

/// The PEM blocks of a file, of whatever kinds.
fn blocks(file: &Path) -> anyhow::Result<Vec<Pem>> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    pem::parse_many(text).with_context(|| format!("{} is not in PEM", file.display()))
}

fn certificates(blocks: &[Pem]) -> Vec<CertificateDer<'static>> {
    let is_certificate = |block: &&Pem| CERTIFICATE_TAGS.contains(&block.tag());
    let certificate = |block: &Pem| CertificateDer::from(block.contents().to_vec());
    blocks.iter().filter(is_certificate).map(certificate).collect()
}

/// The second one is what old versions of OpenSSL wrote.
const CERTIFICATE_TAGS: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];

#[cfg(test)]
mod tests;
