//! TLS of a connection: what an application says about it, and the stream.

use std::fmt;
use std::io::{self, BufRead as _, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BytesMut};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// How connections to hosts are encrypted. Unix sockets never are.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom to trust, and who the client is.
    pub config: Arc<ClientConfig>,
    /// What the server's certificate must be for, whatever host is connected to.
    pub server_name: ServerName<'static>,
}

/// A client's own certificate.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// A PEM file: the certificate, and those between it and an authority.
    pub certificate: &'a Path,
    /// A PEM file with the private key, which is not encrypted.
    pub key: &'a Path,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {source}", .file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// Neither a host's name nor an address.
    #[error(transparent)]
    ServerName(#[from] InvalidDnsNameError),
}

impl Tls {
    /// Trusts servers whose certificate is for `server_name` and signed by an authority in the PEM
    /// file `authorities`.
    pub fn from_files(
        authorities: &Path,
        identity: Option<Identity<'_>>,
        server_name: &str,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities)? {
            roots.add(authority)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let file = |source| TlsError::File { file: key.to_owned(), source };
                let key = PrivateKeyDer::from_pem_file(key).map_err(file)?;
                builder.with_client_auth_cert(certificates(certificate)?, key)?
            }
        };
        let server_name = ServerName::try_from(server_name)?.to_owned();
        Ok(Self { config: Arc::new(config), server_name })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let whose = |source| TlsError::File { file: file.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(file).map_err(whose)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(whose)?;
    if certificates.is_empty() { Err(whose(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

/// A socket with TLS on it. Clones share the connection; one of them reads and one writes.
///
/// Neither holds the lock while it waits for the socket: so reads go on while the server takes no
/// more, which is what lets it take more.
pub(crate) struct TlsStream {
    pub(crate) socket: TcpStream,
    tls: Arc<Mutex<ClientConnection>>,
    /// Was received, but is not read yet. Of the clone that reads.
    opened: BytesMut,
}

impl TlsStream {
    /// Shakes hands.
    pub(crate) fn new(mut socket: TcpStream, tls: &Tls) -> io::Result<Self> {
        let name = tls.server_name.clone();
        let mut connection =
            ClientConnection::new(Arc::clone(&tls.config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self { socket, tls: Arc::new(Mutex::new(connection)), opened: BytesMut::new() })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let (socket, tls) = (self.socket.try_clone()?, Arc::clone(&self.tls));
        Ok(Self { socket, tls, opened: BytesMut::new() })
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut has_ended = open(&mut lock(&self.tls), &mut self.opened)?;
        while self.opened.is_empty() && !has_ended {
            let mut sealed = [0; READ_BYTES];
            let count = self.socket.read(&mut sealed)?;
            has_ended = count == 0;
            let mut rest = sealed.get(..count).unwrap_or_default();
            let mut tls = lock(&self.tls);
            while !rest.is_empty() && !has_ended {
                tls.read_tls(&mut rest)?;
                has_ended = open(&mut tls, &mut self.opened)?;
            }
        }
        let count = self.opened.len().min(buffer.len());
        self.opened.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Moves what was received to the end of `opened`. Whether the server has said that nothing more
/// comes.
fn open(tls: &mut ClientConnection, opened: &mut BytesMut) -> io::Result<bool> {
    let state = tls
        .process_new_packets()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut reader = tls.reader();
    // "Would block" is the end of what is there.
    while let Ok(chunk) = reader.fill_buf()
        && !chunk.is_empty()
    {
        opened.extend_from_slice(chunk);
        let count = chunk.len();
        reader.consume(count);
    }
    Ok(state.peer_has_closed())
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sealed = Vec::new();
        let count = {
            let mut tls = lock(&self.tls);
            let count = tls.writer().write(bytes)?;
            while tls.wants_write() {
                tls.write_tls(&mut sealed)?;
            }
            count
        };
        self.socket.write_all(&sealed)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock(tls: &Mutex<ClientConnection>) -> MutexGuard<'_, ClientConnection> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The largest record of TLS, nearly.
const READ_BYTES: usize = 16 << 10;
