//! Which client certificates are good.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use pem::Pem;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tracing::info;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

/// Wants a certificate that is in `path`, or was signed by an authority that is: a file, or a
/// directory of files.
pub(super) fn verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let blocks = blocks(path)?;
    let mut roots = RootCertStore::empty();
    let mut listed = Vec::new();
    for certificate in super::certificates(&blocks) {
        let certificate = Listed::read(certificate)
            .with_context(|| format!("there is a malformed certificate in {}", path.display()))?;
        if certificate.is_authority {
            roots.add(certificate.der.clone()).with_context(|| {
                format!("there is an authority in {} that cannot be used", path.display())
            })?;
        }
        listed.push(certificate);
    }
    if listed.is_empty() {
        bail!("there is no certificate in {}", path.display());
    }
    info!(
        certificates = listed.len(),
        authorities = roots.len(),
        "clients must show a certificate that is in {} or signed by an authority there",
        path.display()
    );
    let signed = if roots.is_empty() {
        None
    } else {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .with_crls(revocations(&blocks))
                .only_check_end_entity_revocation();
        Some(builder.build().with_context(|| format!("cannot use {}", path.display()))?)
    };
    let algorithms = provider.signature_verification_algorithms;
    Ok(Arc::new(Verifier { listed, signed, algorithms }))
}

/// Compares before it verifies. Self-signed certificates that are their own authority are what
/// ZEO's users have, often with a signature by SHA-1; these are as good as the file that lists
/// them, and no verifier of chains takes them.
#[derive(Debug)]
struct Verifier {
    listed: Vec<Listed>,
    /// `None`: there is no authority.
    signed: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate from the operator's files.
#[derive(Debug)]
struct Listed {
    der: CertificateDer<'static>,
    /// In seconds since 1970.
    valid: RangeInclusive<u64>,
    /// Whether it may sign others: an end-entity's certificate in the list is good for itself only.
    is_authority: bool,
}

impl Listed {
    fn read(der: CertificateDer<'static>) -> anyhow::Result<Self> {
        let certificate = Certificate::from_der(&der)?.tbs_certificate;
        let validity = certificate.validity;
        let valid = validity.not_before.to_unix_duration().as_secs()
            ..=validity.not_after.to_unix_duration().as_secs();
        let constraints = certificate.get::<BasicConstraints>()?;
        let is_authority = constraints.is_some_and(|(_, constraints)| constraints.ca);
        Ok(Self { der, valid, is_authority })
    }

    fn check_time(&self, now: UnixTime) -> Result<(), CertificateError> {
        let now = now.as_secs();
        if now < *self.valid.start() {
            return Err(CertificateError::NotValidYet);
        }
        if now > *self.valid.end() { Err(CertificateError::Expired) } else { Ok(()) }
    }
}

impl ClientCertVerifier for Verifier {
    /// None: who is listed need not be signed by anybody.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(listed) = self.listed.iter().find(|listed| listed.der == *end_entity) {
            listed.check_time(now)?;
            return Ok(ClientCertVerified::assertion());
        }
        match &self.signed {
            Some(signed) => signed.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Of a directory, all files that are in PEM.
fn blocks(path: &Path) -> anyhow::Result<Vec<Pem>> {
    if !path.is_dir() {
        return super::blocks(path);
    }
    let whose = || format!("cannot read {}", path.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).with_context(whose)? {
        files.push(entry.with_context(whose)?.path());
    }
    files.sort();
    let mut blocks = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        // There may be notes and scripts beside them.
        blocks.extend(pem::parse_many(text).unwrap_or_default());
    }
    // The names by which OpenSSL finds them are links to files that are there as well.
    let mut seen = std::collections::HashSet::new();
    blocks.retain(|block| seen.insert(block.contents().to_vec()));
    Ok(blocks)
}

fn revocations(blocks: &[Pem]) -> Vec<CertificateRevocationListDer<'static>> {
    let is_revocation = |block: &&Pem| block.tag() == "X509 CRL";
    let list = |block: &Pem| CertificateRevocationListDer::from(block.contents().to_vec());
    blocks.iter().filter(is_revocation).map(list).collect()
}
