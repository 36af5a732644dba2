//! What servers answer: one of these tests, and a real one, which `ZEOXIDE_TEST_SERVER` names.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use testkit::tls::Certificates;

use crate::{run, start_server};

/// A server that greets, reads a question, answers, and goes.
fn server(greeting: &'static [u8], answer: &'static [u8]) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("zeo://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(greeting).unwrap();
        let mut question = Vec::new();
        (&mut stream).take(8).read_to_end(&mut question).unwrap();
        if !question.is_empty() {
            stream.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(answer).unwrap();
        }
        question
    });
    (url, thread)
}

const GREETING: &[u8] = b"\0\0\0\x02Z5";

#[test]
fn a_table_for_people_and_json_for_programs() {
    let answer = br#"{"1": {"loads": 7, "start": "today"}, "b": {"loads": 12345}}"#;
    let (url, asked) = server(GREETING, answer);
    let (status, text, errors) = run(["status", &url]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert_eq!(text, "storage      1      b\nstarted  today      -\nloads        7  12345\n");
    assert_eq!(asked.join().unwrap(), b"\0\0\0\x04ruok");
    let (url, _) = server(GREETING, answer);
    let (status, text, _) = run(["status", "--json", &url]);
    assert_eq!((status, text.trim_end().as_bytes()), (0, &answer[..]));
}

#[test]
fn what_is_no_server_is_told() {
    for (greeting, answer, wanted) in [
        (GREETING, &b"hello"[..], "no status"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", b"", "is this a listener of zeoxide or ZEO?"),
        (b"\0\0\0\x09Z5", b"{}", "no greeting came"),
    ] {
        let (url, _) = server(greeting, answer);
        let (status, _, errors) = run(["status", "--timeout=1", &url]);
        assert_eq!(status, 1);
        assert!(errors.contains(wanted) && errors.contains(&url), "{errors}");
    }
    let (status, _, errors) = run(["status", "zeo+unix:///not/there"]);
    assert_eq!(status, 1);
    assert!(errors.contains("cannot connect"), "{errors}");
    assert_eq!(run(["status", "http://localhost"]).0, 2);
}

#[test]
fn a_real_server_tells_its_status_on_every_listener() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--listen=zeo://127.0.0.1:0",
        "--listen=zeo+msgpack://127.0.0.1:0",
        "--listen=proto://127.0.0.1:0",
        "--listen=zeo+unix://socket",
        "--storage=1=memory:",
        "--storage=other=memory:",
    ];
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    for url in server.urls() {
        let url = url.replace("socket", folder.path().join("socket").to_str().unwrap());
        let (status, text, errors) = run(["status", &url]);
        assert_eq!((status, errors.as_str()), (0, ""), "{url}");
        let head: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(head, ["storage", "1", "other"]);
        assert!(text.lines().any(|line| line.starts_with("connections")), "{text}");
    }
    server.kill();
}

#[test]
fn a_server_with_tls_is_asked_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments =
        vec!["--listen=zeo://127.0.0.1:0".to_owned(), "--storage=1=memory:".to_owned()];
    arguments.extend(Certificates::shared().write(folder.path()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let url = &server.urls()[0];
    let file =
        |option: &str, name: &str| format!("--{option}={}", folder.path().join(name).display());
    let ask = |options: &[String]| {
        run(["status", url].into_iter().chain(options.iter().map(String::as_str)))
    };
    let known = [
        file("tls-ca", "authority.pem"),
        file("tls-cert", "client.pem"),
        file("tls-key", "client.key"),
    ];
    let (status, text, errors) = ask(&known);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(text.contains("connections"), "{text}");
    for (options, wanted) in [
        // Nothing comes.
        (&["--timeout=1".to_owned()][..], "--tls-ca"),
        // The server asks for a certificate; with TLS 1.3 it refuses after the client's handshake.
        (&known[..1], "CertificateRequired"),
        (&[file("tls-ca", "client.pem")][..], "TLS does not begin"),
        (&[known[0].clone(), "--tls-server-name=else.where".to_owned()][..], "not valid for name"),
        (&[file("tls-ca", "absent.pem")][..], "absent.pem"),
    ] {
        let (status, _, errors) = ask(options);
        assert_eq!(status, 1, "{options:?}");
        assert!(errors.contains(wanted) && errors.lines().count() == 1, "{options:?}: {errors}");
    }
    assert_eq!(ask(&known[1..]).0, 2, "a certificate wants an authority");
    let (status, _, errors) = run(["status", "zeo+unix:///a/socket", &known[0]]);
    assert_eq!(status, 1);
    assert!(errors.contains("unix sockets have no TLS"), "{errors}");
    server.kill();
}
