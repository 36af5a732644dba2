//! TLS: who gets in, who does not, and how it ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use protocol::{Oid, Reply, Request, Tid};
use rustls::ClientConfig;
use tempfile::TempDir;
use testkit::server::{ServerProcess, Socket, read_frame, write_frame};
use testkit::tls::{self, Certificates};

use super::zeo::Client;
use super::{ANYWHERE, IN_MEMORY, serve_in};

/// A server that wants certificates; its listener at index 0 is encrypted.
fn secured(more: &[&str]) -> (ServerProcess, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = Certificates::shared().write(directory.path());
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend([ANYWHERE, IN_MEMORY]);
    arguments.extend(more);
    let server = serve_in(directory.path(), &arguments);
    (server, directory)
}

fn connect(server: &ServerProcess, config: &Arc<ClientConfig>) -> Box<dyn Socket> {
    tls::connect(url(server), config)
}

fn url(server: &ServerProcess) -> &str {
    server.urls().first().unwrap()
}

fn bare(server: &ServerProcess) -> TcpStream {
    TcpStream::connect(url(server).rsplit('/').next().unwrap()).unwrap()
}

#[test]
fn requests_in_heaps_and_long_records_pass_in_both_directions() {
    let (server, _directory) = secured(&[]);
    let mut client = Client::register(connect(&server, &Certificates::shared().client), "1");
    let data: Vec<u8> = (0..5 << 20).map(|at: u32| (at % 251) as u8).collect();
    client.commit(1, Tid::ZERO, &data);
    for _ in 0..1000 {
        client.send(&Request::Ping);
    }
    client.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    for _ in 0..1000 {
        assert_eq!(client.answer(), Reply::Done);
    }
    let Reply::Loaded(Some(loaded)) = client.answer() else { panic!("not loaded") };
    assert!(loaded.data == data, "other bytes come back");
    client.send_slowly(&Request::Ping);
    assert_eq!(client.answer(), Reply::Done);
    server.stop();
}

#[test]
fn who_has_no_certificate_or_a_wrong_one_is_told_and_closed_with_one_line_for_many() {
    let (server, _directory) = secured(&["--log=debug"]);
    let certificates = Certificates::shared();
    for (config, told, line, level) in [
        (&certificates.stranger, "CertificateRequired", "peer sent no certificates", " INFO "),
        (&certificates.impostor, "DecryptError", "BadSignature", " DEBUG "),
    ] {
        let mut stream = tls::stream(url(&server), config);
        let error = stream.read(&mut [0]).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        let line = server.wait_for_log(line);
        assert!(line.contains(level) && line.contains("closed: TLS: "), "{line}");
    }
    let mut client = Client::register(connect(&server, &certificates.client), "1");
    assert_eq!(client.ask(&Request::Ping), Reply::Done);
    drop(client);
    let log = server.stop();
    assert_eq!(log.iter().filter(|line| line.contains("closed: ")).count(), 2, "{log:?}");
}

#[test]
fn what_is_not_tls_is_closed_with_one_line_and_silence_with_none() {
    let (server, _directory) = secured(&[]);
    for _ in 0..3 {
        drop(bare(&server));
    }
    let mut garbage = bare(&server);
    garbage.write_all(b"\0\0\0\x02M5 is no record of TLS").unwrap();
    let mut said = Vec::new();
    // An alert, and nothing else; or a reset if it was faster.
    let _end = garbage.read_to_end(&mut said);
    assert!(said.is_empty() || said.starts_with(&[21, 3]) && said.len() == 7, "{said:?}");
    let line = server.wait_for_log("closed: ");
    assert!(line.contains("INFO") && line.contains("TLS: "), "{line}");

    // Half of a handshake.
    let mut half = bare(&server);
    half.write_all(&[22, 3, 1, 0, 200, 1, 0, 0, 196]).unwrap();
    drop(half);
    let line = server.wait_for_log("disconnected");
    assert!(line.contains("INFO"), "{line}");
    let log = server.stop();
    let said = log.iter().filter(|line| line.contains("closed") || line.contains("disconnected"));
    assert_eq!(said.count(), 2, "{log:?}");
}

#[test]
fn both_sides_say_that_they_end() {
    let (server, _directory) = secured(&[]);
    let config = &Certificates::shared().client;
    let url = url(&server);
    let mut leaving = tls::stream(url, config);
    assert_eq!(read_frame(&mut leaving).unwrap(), b"M5");
    leaving.conn.send_close_notify();
    leaving.flush().unwrap();
    // Without `close_notify` from there, it would be an error.
    assert_eq!(leaving.read(&mut [0]).unwrap(), 0);

    let mut asking = tls::stream(url, config);
    assert_eq!(read_frame(&mut asking).unwrap(), b"M5");
    write_frame(&mut asking, b"ruok");
    assert!(read_frame(&mut asking).unwrap().starts_with(b"{"));
    assert_eq!(asking.read(&mut [0]).unwrap(), 0);

    let mut greeted = tls::stream(url, config);
    assert_eq!(read_frame(&mut greeted).unwrap(), b"M5");
    // In the middle of the handshake: it must not keep the server.
    let half = bare(&server);
    server.stop();
    assert_eq!(greeted.read(&mut [0]).unwrap(), 0);
    drop(half);
}

#[test]
fn unix_sockets_stay_plain() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("zeo+msgpack+unix://{}/socket", directory.path().display());
    let (server, _files) = secured(&["--listen", &unix, "--unix-mode=600"]);
    assert!(read_frame(&mut *server.connect(1)).is_some());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(directory.path().join("socket")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    server.stop();
}
