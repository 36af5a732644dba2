use std::io::{Read as _, Write as _};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// A server's layer, and its client after the handshake.
fn pair() -> (Layer, ClientConnection) {
    let params = CertificateParams::new(["server".to_owned()]).unwrap();
    let server = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(server.key().serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(server.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("server").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut layer = Layer::new(&Arc::new(config)).unwrap();
    let mut plain = (BytesMut::new(), Output::default());
    plain.1.tail().extend_from_slice(b"hello");
    while client.is_handshaking() || layer.tls.is_handshaking() {
        say(&mut client, &mut layer, &mut plain.0);
        layer.seal(&mut plain.1, false);
        hear(&mut client, &mut layer);
    }
    assert!(plain.0.is_empty());
    let mut hello = [0; 5];
    client.reader().read_exact(&mut hello).unwrap();
    assert_eq!((&hello, plain.1.unwritten()), (b"hello", 0));
    (layer, client)
}

/// Has the layer read what the client has to say.
fn say(client: &mut ClientConnection, layer: &mut Layer, plain: &mut BytesMut) {
    while client.wants_write() {
        let mut sealed = Vec::new();
        client.write_tls(&mut sealed).unwrap();
        layer.read_buffer(plain.len()).extend_from_slice(&sealed);
        layer.open(plain).unwrap();
    }
}

/// Has the client read what the layer has to say.
fn hear(client: &mut ClientConnection, layer: &mut Layer) {
    let sealed = layer.output().rest().to_vec();
    layer.output_mut().consume(sealed.len());
    let mut rest = &sealed[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
    }
}

#[test]
fn little_is_sealed_before_it_is_written() {
    let (mut layer, _client) = pair();
    let mut plain = Output::default();
    plain.tail().resize(10 << 20, 7);
    let mut turns = 0;
    while !plain.rest().is_empty() {
        layer.seal(&mut plain, true);
        layer.seal(&mut plain, true);
        let sealed = layer.output().unwritten();
        assert!(sealed > 0 && sealed < SEALED_BYTES + 1024, "{sealed}");
        // A socket that takes some of it.
        layer.output_mut().consume(sealed / 2);
        turns += 1;
    }
    assert!(turns > 100);
}

#[test]
fn memory_of_long_messages_is_given_back() {
    let (mut layer, mut client) = pair();
    let mut plain = BytesMut::new();
    for _ in 0..100 {
        client.writer().write_all(&[7; 50_000]).unwrap();
        say(&mut client, &mut layer, &mut plain);
        assert_eq!(layer.unopened(), 0);
    }
    assert_eq!(plain.len(), 5_000_000);
    layer.release(plain.len());
    assert!(layer.input.capacity() > 64 << 10, "reads grow with the message");
    layer.release(0);
    assert_eq!(layer.input.capacity(), 0);
}

#[test]
fn what_comes_behind_the_end_is_nothing() {
    let (mut layer, mut client) = pair();
    let mut plain = BytesMut::new();
    client.writer().write_all(b"last").unwrap();
    client.send_close_notify();
    say(&mut client, &mut layer, &mut plain);
    assert!(layer.peer_has_closed());
    layer.read_buffer(0).extend_from_slice(b"more");
    layer.open(&mut plain).unwrap();
    assert_eq!(&plain[..], b"last");
}

#[test]
fn the_peer_is_told_what_was_wrong() {
    let (mut layer, mut client) = pair();
    layer.read_buffer(0).extend_from_slice(b"\x17\x03\x03\x00\x20no record of ours, 32 bytes long");
    layer.open(&mut BytesMut::new()).unwrap_err();
    layer.seal(&mut Output::default(), true);
    let sealed = layer.output().rest().to_vec();
    client.read_tls(&mut &sealed[..]).unwrap();
    let error = client.process_new_packets().unwrap_err();
    assert!(
        matches!(error, Error::AlertReceived(rustls::AlertDescription::BadRecordMac)),
        "{error}"
    );
}
