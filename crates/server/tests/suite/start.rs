//! From the command line to readiness, or to one line and nothing else.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use testkit::server::{self, read_frame};

use super::{ANYWHERE, IN_MEMORY, PROGRAM, names, owned, serve, serve_in};

/// Starts a server that must refuse, and returns the line that says why.
pub(super) fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let before = names(directory);
    let output = server::run(PROGRAM, &owned(arguments), directory);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    assert_eq!(names(directory), before, "{arguments:?} left something");
    stderr
}

#[test]
fn listeners_are_told_with_their_real_ports() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("proto+unix://{}/socket", directory.path().display());
    let server = serve_in(
        directory.path(),
        &["--listen=zeo://127.0.0.1:0", "--listen", &unix, ANYWHERE, IN_MEMORY],
    );
    let [pickle, socket, msgpack] = server.urls() else { panic!("{:?}", server.urls()) };
    assert!(pickle.starts_with("zeo://127.0.0.1:") && !pickle.ends_with(":0"), "{pickle}");
    assert!(msgpack.starts_with("zeo+msgpack://127.0.0.1:"), "{msgpack}");
    assert_eq!(*socket, unix);
    for index in 0..3 {
        assert!(read_frame(&mut *server.connect(index)).is_some());
    }
    server.stop();
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn the_default_storage_is_a_directory_that_is_created_and_opened_again() {
    let (server, directory) = serve(&[ANYWHERE]);
    server.stop();
    assert_eq!(names(directory.path()), ["zeoxide-data"]);
    serve_in(directory.path(), &[ANYWHERE, "--read-only"]).stop();
}

#[test]
fn a_wrong_command_line_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, why) in [
        (&["--lease=x"][..], "unexpected argument '--lease'"),
        (&["--replicate-to=x"], "write repl://HOST:PORT"),
        (&["--replicate-from=zrs://x"], "write zrs://HOST:PORT"),
        (&["--sync-replicas=1"], "--replicate-to <repl://HOST:PORT>"),
        (&["--replicate-ca=x"], "--replicate-from <repl://HOST:PORT>"),
        (&["--replicate-from=repl://h:1", "--replicate-ca=x"], "cannot read x: No such file"),
        (&["--replicate-to=repl://no.invalid:1"], "unknown host"),
        (&["--tls-key=x"], "--tls-cert"),
        (&["--tls-cert=x"], "cannot read x: No such file"),
        (&["extra"], "unexpected argument 'extra'"),
        (&["--listen=http://h:1"], "scheme"),
        (&["--storage=1=postgres://h"], "not offered in this version"),
        (&["--storage=nothing"], "NAME=URL"),
        (&["--sync=sometimes"], "[possible values: commit, each, none]"),
        (&["--threads=0"], "'--threads <N>'"),
        (&["--invalidation-queue-size=1000001"], "is not in 0..=1000000"),
        (&["--invalidation-queue-size=18446744073709551615"], "number too large"),
        (&["--max-message=1T"], "not a number of bytes"),
        (&["--storage=1=memory:", "--storage=1=file:x"], "two storages have the name '1'"),
        (&["--storage=1=file:x", "--storage=2=file:./x"], "are both in"),
        (&["--listen=zeo://no.invalid:1"], "unknown host"),
        (&["--listen=zeo+unix:///nowhere/at/all"], "No such file"),
    ] {
        let line = refusal(directory.path(), arguments);
        assert!(line.contains(why), "{arguments:?}: {line}");
    }
}

#[test]
fn two_storages_in_one_directory_are_refused_by_whatever_names() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", directory.path().join("link")).unwrap();
    for other in ["./real/data", "link/data", "link/../real/data"] {
        let other = format!("--storage=2=file:{other}");
        let line = refusal(directory.path(), &[ANYWHERE, "--storage=1=file:real/data", &other]);
        assert!(line.contains("are both in") && line.contains("real/data"), "{line}");
    }
    assert_eq!(names(&directory.path().join("real")), [""; 0]);
}

#[test]
fn help_and_version_are_no_errors() {
    let directory = tempfile::tempdir().unwrap();
    for (argument, text) in [("--help", "Usage: "), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = server::run(PROGRAM, &owned(&[argument]), directory.path());
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(text));
        assert_eq!(output.stderr, b"");
    }
}

#[test]
fn a_port_in_use_leaves_no_storage_behind() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("zeo://{}", taken.local_addr().unwrap());
    let line = refusal(directory.path(), &["--listen", &url, "--storage=1=file:data"]);
    assert!(line.contains(&url) && line.contains("in use"), "{line}");
}

#[test]
fn a_foreign_directory_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "data").unwrap();
    let unix = format!("--listen=zeo+unix://{}/socket", directory.path().display());
    let line =
        refusal(directory.path(), &[&unix, "--storage=1=file:fresh", "--storage=2=file:foreign"]);
    assert!(line.contains("cannot open storage '2'") && line.contains("foreign"), "{line}");
    assert_eq!(names(&foreign), ["file"]);
    fs::create_dir(directory.path().join("empty")).unwrap();
    refusal(directory.path(), &[ANYWHERE, "--storage=1=file:empty", "--storage=2=file:foreign"]);
    assert_eq!(names(&directory.path().join("empty")), [""; 0]);
    let line = refusal(directory.path(), &[ANYWHERE, "--storage=1=file:foreign/file"]);
    assert!(line.contains("foreign/file"), "{line}");
    let below = "--storage=1=file:foreign/file/data";
    let line = refusal(directory.path(), &[ANYWHERE, "--storage=2=file:fresh", below]);
    assert!(line.contains("foreign/file/data: Not a directory"), "{line}");
}

#[test]
fn no_storage_is_touched_when_another_one_is_refused() {
    let (mut killed, directory) = serve(&[ANYWHERE, "--storage=1=file:good"]);
    killed.signal("KILL");
    killed.wait();
    let good = directory.path().join("good");
    let segment = good.join("segments/00000001.log");
    let mut torn = fs::read(&segment).unwrap();
    torn.extend_from_slice(b"torn");
    fs::write(&segment, &torn).unwrap();
    fs::write(good.join("tmp/left"), "by another process").unwrap();

    let mine = directory.path().join("mine");
    fs::create_dir_all(mine.join("tmp")).unwrap();
    fs::write(mine.join("tmp/letter"), "dear").unwrap();
    std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
    fs::write(directory.path().join("Data.fs"), "FS21").unwrap();
    let others = [
        ("mine", "neither empty nor"),
        ("loop", "symbolic links"),
        ("Data.fs", "Data.fs: Not a directory"),
    ];
    for (other, why) in others {
        let other = format!("--storage=2=file:{other}");
        let line = refusal(
            directory.path(),
            &[ANYWHERE, "--storage=0=file:fresh", "--storage=1=file:good", &other],
        );
        assert!(line.contains("cannot open storage '2'") && line.contains(why), "{line}");
    }
    assert_eq!(names(&mine), ["tmp"]);
    assert_eq!(names(&mine.join("tmp")), ["letter"]);
    assert_eq!(fs::read(&segment).unwrap(), torn);
    assert_eq!(names(&good.join("tmp")), ["left"]);

    let server = serve_in(directory.path(), &[ANYWHERE, "--storage=1=file:good"]);
    server.wait_for_log("at offset 64");
    server.stop();
    assert_eq!(names(&good.join("torn")).len(), 1);
}

#[test]
fn a_directory_that_may_not_be_read_or_written_is_refused() {
    for mode in [0o000, 0o555] {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        if fs::write(closed.join("file"), "").is_ok() {
            eprintln!("skipped: this user is root, who may do all");
            return;
        }
        for storage in ["--storage=2=file:closed", "--storage=2=file:closed/data"] {
            let line = refusal(directory.path(), &[ANYWHERE, "--storage=1=file:fresh", storage]);
            assert!(line.contains("Permission denied"), "{line}");
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(names(&closed), [""; 0]);
    }
}

#[test]
fn a_storage_in_use_is_refused_and_goes_on() {
    let (server, directory) = serve(&[ANYWHERE, "--storage=1=file:data"]);
    let line = refusal(directory.path(), &[ANYWHERE, "--storage=1=file:data"]);
    assert!(line.contains("in use by another process"), "{line}");
    assert!(read_frame(&mut *server.connect(0)).is_some());
    server.stop();
}

#[test]
fn the_socket_of_a_killed_server_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("--listen=zeo+unix://{}/socket", directory.path().display());
    let mut killed = serve_in(directory.path(), &[&unix, "--storage=1=file:data"]);
    killed.signal("KILL");
    killed.wait();
    let server = serve_in(directory.path(), &[&unix, "--storage=1=file:data"]);
    assert!(read_frame(&mut *server.connect(0)).is_some());
    let line = refusal(directory.path(), &[&unix, "--storage=1=file:other"]);
    assert!(line.contains("a server listens there"), "{line}");
    server.stop();

    let _other = UnixListener::bind(directory.path().join("socket")).unwrap();
    refusal(directory.path(), &[&unix, IN_MEMORY]);
}

#[test]
fn a_blob_directory_that_cannot_be_used_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let lawn = directory.path().join("lawn");
    fs::create_dir(&lawn).unwrap();
    fs::write(lawn.join(".layout"), "lawn").unwrap();
    fs::create_dir_all(directory.path().join("unknown/0x01")).unwrap();
    let fresh = "--storage=1=file:fresh?blobs=fresh-blobs";
    for (other, why) in [
        ("file:x?blobs=lawn", "lawn/.layout: the layout 'lawn' is not served"),
        ("file:x?blobs=unknown", "unknown: it has files, but no file .layout"),
        ("file:x?blobs=lawn/.layout", "lawn/.layout: Not a directory"),
        ("file:x?blobs=./fresh-blobs", "storages '1' and '2' are both in"),
        ("file:x?blobs=fresh", "storages '1' and '2' are both in"),
        ("file:x?blobs=x", "storage '2' has its data and its blobs in one directory"),
    ] {
        let other = format!("--storage=2={other}");
        let line = refusal(directory.path(), &[ANYWHERE, fresh, &other]);
        assert!(line.contains(why), "{other}: {line}");
    }
    let mut left = names(directory.path());
    left.sort();
    assert_eq!(left, ["lawn", "unknown"]);
    assert_eq!(names(&lawn), [".layout"]);
}

#[test]
fn a_blob_directory_has_one_server() {
    let (server, directory) = serve(&[ANYWHERE, "--storage=1=memory:?blobs=blobs"]);
    let line = refusal(directory.path(), &[ANYWHERE, "--storage=1=memory:?blobs=blobs"]);
    assert!(line.contains("blobs: in use by another process"), "{line}");
    server.stop();
    serve_in(directory.path(), &[ANYWHERE, "--storage=1=file:data?blobs=blobs"]).stop();
}
