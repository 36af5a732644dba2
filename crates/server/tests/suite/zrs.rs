//! A server that follows a primary of zc.zrs, whose part recorded sessions play.

// What was recorded has a known form.
#![allow(clippy::indexing_slicing)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use protocol::{Failure, Loaded, Oid, Reply, Request, Tid};

use super::zeo::Client;
use super::{ANYWHERE, serve_in};

const STORAGE: &str = "--storage=1=file:data?blobs=blobs";

/// What a primary sends, and the secondary before that.
struct Session {
    secondary: Vec<u8>,
    primary: Vec<u8>,
    transactions: Vec<Transaction>,
}

/// As ZODB tells of it.
struct Transaction {
    tid: Tid,
    /// Oid, data, and the length of the blob.
    records: Vec<(Oid, Option<Vec<u8>>, Option<u64>)>,
}

impl Session {
    fn read(name: &str) -> Self {
        let path = |suffix: &str| {
            let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zrs/tests/data");
            data.join(format!("{name}.{suffix}"))
        };
        let [secondary, primary] =
            ["secondary", "primary"].map(|suffix| fs::read(path(suffix)).unwrap());
        let mut transactions: Vec<Transaction> = Vec::new();
        for line in fs::read_to_string(path("txt")).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = u64::from_str_radix(words[1], 16).unwrap();
            if words[0] == "transaction" {
                transactions.push(Transaction { tid: Tid(number), records: Vec::new() });
                continue;
            }
            let data = (words[2] != "-").then(|| bytes(words[2]));
            let blob = words[4].split_once(':').map(|(length, _)| length.parse().unwrap());
            transactions.last_mut().unwrap().records.push((Oid(number), data, blob));
        }
        Self { secondary, primary, transactions }
    }

    /// All up to the end of this transaction.
    fn up_to(&self, transactions: usize) -> &[u8] {
        let (mut at, mut ends) = (0, 0);
        while ends < transactions {
            let length = self.primary[at..at + 4].try_into().unwrap();
            let message = &self.primary[at + 4..][..u32::from_be_bytes(length) as usize];
            ends += usize::from(
                message.len() < 80
                    && [&b"(U\x01C"[..], b"(X\x01\0\0\0C"].iter().any(|p| message.starts_with(p)),
            );
            at += 4 + message.len();
        }
        &self.primary[..at]
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |two: &[char]| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A primary that waits for one secondary.
struct Primary(TcpListener);

impl Primary {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn argument(&self) -> String {
        format!("--replicate-from=zrs://{}", self.0.local_addr().unwrap())
    }

    /// Goes through a session; the connection stays open until what this returns is dropped.
    fn play(&self, secondary: &[u8], primary: &[u8]) -> TcpStream {
        let (mut stream, _) = self.0.accept().unwrap();
        let mut greeting = vec![0; secondary.len()];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, secondary);
        stream.write_all(primary).unwrap();
        stream
    }
}

/// Where ZODB has a blob.
fn blob_path(directory: &Path, oid: Oid, tid: Tid) -> PathBuf {
    let mut path = directory.join("blobs");
    path.extend(oid.to_bytes().map(|byte| format!("0x{byte:02x}")));
    path.join(format!("0x{:016x}.blob", tid.0))
}

#[test]
fn a_zrs_primary_is_followed_from_the_beginning_and_from_where_it_was_left() {
    for kind in ["python3-blobs", "python2-blobs"] {
        let directory = tempfile::tempdir().unwrap();
        let (whole, rest) = (Session::read(kind), Session::read(&format!("{kind}-middle")));
        // The second session begins with the last transaction of the first part of the first one.
        let first = rest.transactions[0].tid;
        let known = whole.transactions.iter().position(|one| one.tid == first).unwrap() + 1;
        for (session, part, is_end) in
            [(&whole, whole.up_to(known), false), (&rest, &rest.primary[..], true)]
        {
            let primary = Primary::new();
            let from = primary.argument();
            let server = serve_in(directory.path(), &[ANYWHERE, STORAGE, &from]);
            let connection = primary.play(&session.secondary, part);
            let last = if is_end { whole.transactions.last().unwrap().tid } else { first };
            let connect = || Client::try_register(server.connect(0), "1", true).unwrap();
            let (mut reader, mut seen) = connect();
            while seen < last {
                seen = reader.invalidation().0;
            }
            let there = whole.transactions.iter().filter(|one| one.tid <= last);
            for Transaction { tid, records } in there {
                for (oid, data, blob) in records {
                    let before = Tid(tid.0 + 1);
                    let reply = reader.ask(&Request::LoadBefore { oid: *oid, before });
                    match (reply, data) {
                        (Reply::Loaded(Some(Loaded { data, .. })), Some(expected)) => {
                            assert_eq!(data[..], expected[..]);
                        }
                        (Reply::Failed(Failure::UnknownOid(_)), None) => {}
                        (reply, data) => panic!("{oid} as of {tid}: {reply:?} for {data:?}"),
                    }
                    if let Some(blob) = blob {
                        let file = fs::metadata(blob_path(directory.path(), *oid, *tid)).unwrap();
                        assert_eq!(file.len(), *blob);
                    }
                }
            }
            let refused = Client::try_register(server.connect(0), "1", false);
            assert_eq!(refused.err(), Some(Failure::ReadOnly));
            server.stop();
            drop(connection);
        }
        // Without a primary it is one itself.
        let server = serve_in(directory.path(), &[ANYWHERE, STORAGE]);
        Client::register(server.connect(0), "1").commit(1 << 40, Tid::ZERO, b"ours");
        server.stop();
    }
}

#[test]
fn a_zrs_primary_of_another_history_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve_in(directory.path(), &[ANYWHERE, STORAGE]);
    let own = Client::register(server.connect(0), "1").commit(1, Tid::ZERO, b"ours");
    server.stop();
    let primary = Primary::new();
    let from = primary.argument();
    let server = serve_in(directory.path(), &[ANYWHERE, STORAGE, &from]);
    let session = Session::read("python3-blobs");
    let connection = primary.play(&session.secondary, &session.primary);
    let line = server.wait_for_log("does not follow");
    assert!(line.contains(&own.to_string()), "{line}");
    let (_, last) = Client::try_register(server.connect(0), "1", true).unwrap();
    assert_eq!(last, own);
    server.stop();
    drop(connection);
}
