//! A disk that takes no more.

use protocol::{Failure, Loaded, Oid, Reply, Request, Tid};

use super::zeo::Client;
use super::{ANYWHERE, serve, serve_in};

const LOAD: Request = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };

#[test]
fn a_full_disk_fails_commits_and_nothing_else() {
    let (server, directory) = serve(&[ANYWHERE, "--storage=1=file:data"]);
    let mut client = Client::register(server.connect(0), "1");
    let first = client.commit(1, Tid::ZERO, b"first");
    let loaded = |tid, data: &'static [u8]| {
        Reply::Loaded(Some(Loaded { data: data.into(), tid, end: None }))
    };
    server.limit_files(Some(1 << 20));
    // Less than what is allocated already, and more.
    for bytes in [2 << 20, 40 << 20] {
        let failure = client.try_commit(2, Tid::ZERO, &vec![7; bytes]).unwrap_err();
        let Failure::Storage(why) = failure else { panic!("{failure:?}") };
        assert!(why.contains("File too large"), "{why}");
        assert_eq!(client.ask(&LOAD), loaded(first, b"first"));
        let mut other = Client::register(server.connect(0), "1");
        assert_eq!(other.ask(&LOAD), loaded(first, b"first"));
    }
    server.limit_files(None);
    let second = client.commit(1, first, b"second");
    client.commit(2, Tid::ZERO, &vec![7; 40 << 20]);
    assert_eq!(client.ask(&LOAD), loaded(second, b"second"));
    drop(client);
    server.stop();

    let server = serve_in(directory.path(), &[ANYWHERE, "--storage=1=file:data"]);
    let mut client = Client::register(server.connect(0), "1");
    assert_eq!(client.ask(&LOAD), loaded(second, b"second"));
    server.stop();
}
