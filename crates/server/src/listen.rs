//! Listening sockets: opened before anything else is touched, closed again when a later step
//! fails.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use codecs::{Address, Dialect, Endpoint};
use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

/// An open listener, for a runtime to accept from.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket, blocking: of the unix domain or of TCP as [`Self::is_unix`] says.
    pub socket: Socket,
    /// How clients are met.
    pub welcome: Welcome,
    /// Whether clients come by a path in the file system.
    pub is_unix: bool,
}

/// How the clients of a listener are met.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// What is announced to them.
    pub(crate) dialect: Dialect,
    /// Inside TLS, if this is there.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Without TLS.
impl From<Dialect> for Welcome {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, tls: None }
    }
}

/// What listeners are opened with, besides their URLs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// For all but unix sockets.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Permission bits of unix sockets, unless the umask decides.
    pub(crate) unix_mode: Option<u32>,
}

/// A listener before it is handed to a runtime.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    /// With the port that the system chose, if it was asked to.
    pub(crate) url: Endpoint,
    /// Removed when this is dropped.
    pub(crate) file: Option<SocketFile>,
}

/// The name of a unix socket in the file system, removed on drop.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that another server's socket of the same name survives.
    identity: (u64, u64),
}

/// Opens all listeners or none.
pub(crate) fn bind_all(urls: &[Endpoint], terms: &Terms) -> anyhow::Result<Vec<Bound>> {
    urls.iter()
        .map(|url| bind(url, terms).with_context(|| format!("cannot listen on {url}")))
        .collect()
}

/// What log lines call the client at the other end.
pub fn peer_name(address: &SockAddr) -> String {
    match address.as_socket() {
        Some(address) => address.to_string(),
        // Clients' ends of unix sockets have no names.
        None => "unix".to_owned(),
    }
}

fn bind(url: &Endpoint, terms: &Terms) -> anyhow::Result<Bound> {
    let (socket, address, file) = match &url.address {
        Address::Tcp { host, port } => {
            let socket = bind_tcp(host, *port)?;
            let port = socket.local_addr()?.as_socket().map_or(*port, |address| address.port());
            (socket, Address::Tcp { host: host.clone(), port }, None)
        }
        Address::Unix(path) => {
            let (socket, file) = bind_unix(path, terms.unix_mode)?;
            (socket, url.address.clone(), Some(file))
        }
    };
    let is_unix = file.is_some();
    let tls = terms.tls.clone().filter(|_| !is_unix);
    let welcome = Welcome { dialect: url.dialect, tls };
    let listener = Listener { socket, welcome, is_unix };
    Ok(Bound { listener, url: Endpoint { dialect: url.dialect, address }, file })
}

/// Takes the first of the host's addresses that can be had.
pub(crate) fn bind_tcp(host: &str, port: u16) -> anyhow::Result<Socket> {
    let mut failure = None;
    for address in (host, port).to_socket_addrs().context("unknown host")? {
        match bind_address(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error.into()),
        None => bail!("the host has no address"),
    }
}

fn bind_address(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server takes its port back although old connections linger.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it. A client that vanished would hold its locks for ever.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBE))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>) -> anyhow::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    remove_left_over(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    if let Some(mode) = mode {
        // Nobody can connect before the socket listens, so nobody gets in before this.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok((socket, file))
}

/// Removes the socket file of a server that was killed. Anything else at that place is an error.
fn remove_left_over(path: &Path, address: &SockAddr) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("there is a file that is not a socket");
        }
        Ok(_) => (),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener with a full backlog must not keep the probe waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error.into()),
        _ => bail!("a server listens there"),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // There is nobody left to tell, and the next server replaces the file.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

/// Connections that wait to be accepted, while all clients of a restarted server return at once.
const BACKLOG: i32 = 1024;

/// A client that was silent so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Time between questions; the system gives up after nine.
const PROBE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn unix(directory: &Path, name: &str) -> Endpoint {
        url(&format!("zeo+unix://{}/{name}", directory.display()))
    }

    fn bind(urls: &[Endpoint]) -> anyhow::Result<Vec<Bound>> {
        bind_all(urls, &Terms::default())
    }

    fn failure(urls: &[Endpoint]) -> String {
        format!("{:#}", bind(urls).unwrap_err())
    }

    #[test]
    fn the_url_gets_the_real_port() {
        let bound = bind(&[url("proto://127.0.0.1:0"), url("zeo://localhost:0")]).unwrap();
        for bound in bound {
            let Address::Tcp { port, .. } = bound.url.address else { panic!("not TCP") };
            assert_ne!(port, 0);
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_and_undoes_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let taken = bind(&[url("zeo://127.0.0.1:0")]).unwrap();
        let taken = taken[0].url.clone();
        let text = failure(&[unix(directory.path(), "socket"), taken.clone()]);
        assert!(text.starts_with(&format!("cannot listen on {taken}: Address")), "{text}");
        assert!(!directory.path().join("socket").exists());
    }

    #[test]
    fn a_left_over_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let url = unix(directory.path(), "socket");
        let path = directory.path().join("socket");
        let old = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(failure(std::slice::from_ref(&url)).ends_with("a server listens there"));
        drop(old);
        let bound = bind(std::slice::from_ref(&url)).unwrap();
        drop(std::os::unix::net::UnixStream::connect(&path).unwrap());
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_has_the_permissions_that_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o666, 0o777] {
            let terms = Terms { unix_mode: Some(mode), ..Terms::default() };
            let _bound = bind_all(&[unix(directory.path(), "socket")], &terms).unwrap();
            let metadata = fs::metadata(directory.path().join("socket")).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn other_files_and_other_servers_sockets_survive() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "data").unwrap();
        assert!(failure(&[unix(directory.path(), "file")]).contains("not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"data");

        let bound = bind(&[unix(directory.path(), "socket")]).unwrap();
        let path = directory.path().join("socket");
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn impossible_paths_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        assert!(failure(&[unix(directory.path(), "none/socket")]).contains("No such file"));
        assert!(failure(&[unix(directory.path(), &"x".repeat(200))]).contains("cannot listen"));
    }
}
