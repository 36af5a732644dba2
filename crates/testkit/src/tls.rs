//! Certificates, made anew for each test process, and sockets that use them.

use std::fs;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use client::Tls;
use pem::Pem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server::{PATIENCE, Socket};

/// What a server and its clients need.
#[derive(Debug)]
pub struct Certificates {
    /// In PEM: of the authority that signed the others.
    pub authority: String,
    /// In PEM: the server's certificate, for 127.0.0.1.
    pub server: String,
    /// In PEM: the server's private key.
    pub server_key: String,
    /// In PEM: a client's certificate, which the authority signed, and its private key.
    pub client_identity: [String; 2],
    /// That client.
    pub client: Arc<ClientConfig>,
    /// A client without a certificate.
    pub stranger: Arc<ClientConfig>,
    /// A client whose certificate was signed by another authority of the same name.
    pub impostor: Arc<ClientConfig>,
}

impl Certificates {
    /// The same for all tests of a process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Certificates> = OnceLock::new();
        SHARED.get_or_init(|| Self::generate().expect("the parameters are right"))
    }

    fn generate() -> Result<Self, rcgen::Error> {
        let (ours, other) = (authority()?, authority()?);
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new([HOST.to_owned()])?.signed_by(&server_key, &ours)?;
        let mut roots = RootCertStore::empty();
        roots.add(ours.der().clone()).expect("it is an authority's");
        let roots = Arc::new(roots);
        let (known, impostor) = (Identity::new(&ours)?, Identity::new(&other)?);
        let client_identity = [
            pem("CERTIFICATE", &known.certificate),
            pem("PRIVATE KEY", known.key.secret_pkcs8_der()),
        ];
        Ok(Self {
            authority: pem("CERTIFICATE", ours.der()),
            server: pem("CERTIFICATE", server.der()),
            server_key: pem("PRIVATE KEY", &server_key.serialize_der()),
            client_identity,
            client: client(&roots, Some(known)),
            stranger: client(&roots, None),
            impostor: client(&roots, Some(impostor)),
        })
    }

    /// Writes the files of a server, and gives its arguments; and those of [`Self::tls`].
    pub fn write(&self, directory: &Path) -> Vec<String> {
        for (name, content) in IDENTITY_FILES.iter().zip(&self.client_identity) {
            fs::write(directory.join(name), content).expect("the directory is there");
        }
        let files = [
            ("--tls-cert", "server.pem", &self.server),
            ("--tls-key", "server.key", &self.server_key),
            ("--tls-client-ca", "authority.pem", &self.authority),
        ];
        let write = |(option, name, content): (&str, &str, &String)| {
            fs::write(directory.join(name), content).expect("the directory is there");
            format!("{option}={name}")
        };
        files.map(write).into()
    }

    /// [`Self::client`] from its files, for the Rust client.
    pub fn tls(directory: &Path) -> Tls {
        let [certificate, key] = IDENTITY_FILES.map(|name| directory.join(name));
        let identity = client::Identity { certificate: &certificate, key: &key };
        Tls::from_files(&directory.join("authority.pem"), Some(identity), HOST)
            .expect("they were written")
    }
}

/// Connects to a listener with TLS; reads have a time limit. The handshake is made by the first
/// read or write.
pub fn connect(url: &str, config: &Arc<ClientConfig>) -> Box<dyn Socket> {
    Box::new(stream(url, config))
}

/// [`connect`], and shows what TLS does.
pub fn stream(url: &str, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let (_, place) = url.split_once("://").expect("it is a URL");
    let socket = TcpStream::connect(place).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit above zero");
    socket.set_nodelay(true).expect("it is TCP");
    let tls = ClientConnection::new(Arc::clone(config), server_name());
    StreamOwned::new(tls.expect("the configuration is whole"), socket)
}

impl Socket for StreamOwned<ClientConnection, TcpStream> {
    fn hang_up(&self) {
        self.sock.shutdown(Shutdown::Write).expect("the stream is open");
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A certificate and its private key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    fn new(signer: &Issuer<'_, KeyPair>) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["client".to_owned()])?.signed_by(&key, signer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self { certificate: certificate.der().clone(), key })
    }
}

/// A client that trusts `roots`.
fn client(roots: &Arc<RootCertStore>, identity: Option<Identity>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what they need")
        .with_root_certificates(Arc::clone(roots));
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => builder
            .with_client_auth_cert(vec![certificate], key.into())
            .expect("the key belongs to the certificate"),
    })
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&Pem::new(tag, der))
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from(HOST).expect("it is an address")
}

const HOST: &str = "127.0.0.1";

/// Of a client: its certificate and its private key.
const IDENTITY_FILES: [&str; 2] = ["client.pem", "client.key"];
