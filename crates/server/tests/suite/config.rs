//! Servers that are told by a file what to do, as ZEO's are, and what else runzeo has.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use testkit::server::{ServerProcess, read_frame};

use super::log::{has_line, wait_for_line};
use super::start::refusal;
use super::zeo::Client;
use super::{ANYWHERE, IN_MEMORY, PROGRAM, names, owned, serve_in};

/// The documentation's examples are what is tested.
const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// A block of the documentation.
fn example(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// A directory with files in it.
fn directory<const N: usize>(files: [(&str, &str); N]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Starts a server with variables in its environment.
fn serve_with(directory: &Path, variables: &[&str], arguments: &[&str]) -> ServerProcess {
    let all = owned(&[variables, &[PROGRAM], arguments].concat());
    // It becomes the server, and so stays the same process.
    ServerProcess::start("env", &all, directory)
}

#[test]
fn the_zeo_conf_of_plones_image_is_served_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let conf = example("apache")
        .replace(" /app\n", &format!(" {}\n", at("app").display()))
        .replace(" /data\n", &format!(" {}\n", at("data").display()));
    fs::write(at("zeo.conf"), conf).unwrap();
    for needed in ["app/var", "data/filestorage", "data/log"] {
        fs::create_dir_all(at(needed)).unwrap();
    }
    let variables = ["ZEO_PORT=0", "ZEO_READ_ONLY=no", "ZEO_INVALIDATION_QUEUE_SIZE=7"];
    let server = serve_with(root.path(), &variables, &["-C", "zeo.conf"]);
    let [url] = server.urls() else { panic!("{:?}", server.urls()) };
    assert!(url.starts_with("zeo://0.0.0.0:"), "{url}");
    let pid: u32 = fs::read_to_string(at("app/var/zeo.pid")).unwrap().trim().parse().unwrap();
    assert!(Path::new("/proc").join(pid.to_string()).exists());
    assert_eq!(read_frame(&mut *server.connect(0)).as_deref(), Some(&b"Z5"[..]));
    let log = at("data/log/zeo.log");
    wait_for_line(&log, "zeo.conf:12: ");
    assert!(has_line(&log, "Data.fs itself is neither read nor written"));
    assert!(has_line(&log, "zeo.conf:15: 'pack-keep-old' has no effect"));
    assert_eq!(server.stop(), [""; 0], "all is in the file");
    assert!(has_line(&log, "stopped"));
    assert_eq!(names(&at("app/var")), [""; 0], "the pid file is gone");
    assert!(names(&at("data/filestorage")).contains(&"Data.fs.zeoxide".to_owned()));

    serve_with(root.path(), &["ZEO_PORT=0", "ZEO_READ_ONLY=true"], &["-C", "zeo.conf"]).stop();
}

#[test]
fn toml_says_what_the_command_line_says() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("data/log")).unwrap();
    let here = format!("\"{}/", root.path().display());
    let text = example("toml")
        .replace("0.0.0.0:8100", "127.0.0.1:0")
        .replace("127.0.0.1:8101", "127.0.0.1:0")
        .replace("\"/run/", "\"/")
        .replace("\"/", &here)
        .replace("file:/", &format!("file:{}/", root.path().display()))
        .replace("blobs=/", &format!("blobs={}/", root.path().display()));
    fs::write(root.path().join("server.toml"), text).unwrap();
    let server = serve_in(root.path(), &["--config=server.toml"]);
    let [zeo, proto] = server.urls() else { panic!("{:?}", server.urls()) };
    assert!(zeo.starts_with("zeo://127") && proto.starts_with("proto://127"), "{zeo} {proto}");
    Client::register(server.connect(0), "temporary");
    Client::register(server.connect(0), "1");
    assert!(root.path().join("zeoxide.pid").exists());
    assert!(root.path().join("data/filestorage/Data.fs.zeoxide").is_dir());
    assert!(root.path().join("data/blobstorage").is_dir());
    assert_eq!(server.stop(), [""; 0]);
    assert!(has_line(&root.path().join("data/log/zeo.log"), "stopped"));
}

#[test]
fn a_zeo_conf_may_be_in_pieces() {
    let root = directory([
        (
            "zeo.conf",
            "%include parts/all.conf\n%import my.package\n<zeo>\n %include $here/zeo\n monitor-address 1\n</zeo>\n",
        ),
        ("parts/all.conf", "%define here parts\n%include storages\n"),
        ("parts/zeo", "address 127.0.0.1:0\nmsgpack on\n"),
        ("parts/storages", "<mappingstorage Main/>\n<filestorage>\n path x.fs\n</filestorage>\n"),
    ]);
    let server = serve_in(root.path(), &["--configure", "zeo.conf"]);
    assert!(server.urls()[0].starts_with("zeo+msgpack://127.0.0.1:"), "{:?}", server.urls());
    Client::register(server.connect(0), "main");
    Client::register(server.connect(0), "1");
    let line = server.wait_for_log("'monitor-address'");
    assert!(line.contains("WARN") && line.contains("zeo.conf:5: "), "{line}");
    server.wait_for_log("zeo.conf:2: what the package 'my.package'");
    let line = server.wait_for_log("x.fs itself");
    assert!(line.contains("INFO") && line.contains("parts/storages:2: "), "{line}");
    server.stop();
}

#[test]
fn a_wrong_file_is_one_line_with_its_place_and_nothing_is_touched() {
    const ZEO: &str = "<zeo>\n address 127.0.0.1:0\n</zeo>\n";
    for (file, text, why) in [
        (
            "zeo.conf",
            "<zeo>\n address nowhere\n</zeo>\n<mappingstorage/>",
            "zeo.conf:2: invalid value 'nowhere' for '--address <ADDRESS>': write HOST:PORT",
        ),
        (
            "zeo.conf",
            "<zeo>\n address 1\n invalidation-queue-size many\n</zeo>\n<mappingstorage/>",
            "zeo.conf:3: invalid value 'many'",
        ),
        (
            "zeo.conf",
            "<zeo>\n address 1\n transaction-timeout 0\n</zeo>\n<mappingstorage/>",
            "zeo.conf:3: invalid value '0'",
        ),
        ("zeo.conf", "<zeo>\n", "zeo.conf:1: <zeo> is not ended"),
        (
            "zeo.conf",
            "%include other.conf\n",
            "zeo.conf:1: cannot include other.conf: No such file",
        ),
        (
            "zeo.conf",
            "Z<filestorage>\n path data.fs\n</filestorage>\n<demostorage other/>",
            "zeo.conf:7: <demostorage> cannot",
        ),
        ("zeo.conf", "Z<filestorage>\n path zeo.conf\n</filestorage>", "zeo.conf has data, and "),
        (
            "zeo.conf",
            "Z<mappingstorage/>\n<eventlog>\n<logfile>\n path no/where.log\n</logfile>\n</eventlog>",
            "cannot log to no/where.log",
        ),
        ("z.toml", "threads = 0", "z.toml:1: invalid value '0' for '--threads <N>'"),
        (
            "z.toml",
            "\nstorage = ['1=memory:', \n 'x']",
            "z.toml:3: invalid value 'x' for '--storage <NAME=URL>'",
        ),
        ("z.toml", "colour = 1", "z.toml:1: 'colour' is not an option"),
        ("z.toml", "tls-key = 'x'", "z.toml: the following required arguments were not provided"),
        (
            "z.toml",
            "pid-file = 'no/pid'\nlisten = 'zeo://127.0.0.1:0'",
            "cannot write the pid file no/pid",
        ),
        ("z.toml", "log-file = 'new.log'\nlisten = 'zeo://no.invalid:1'", "unknown host"),
    ] {
        let text =
            text.strip_prefix('Z').map_or_else(|| text.to_owned(), |rest| format!("{ZEO}{rest}"));
        let root = directory([(file, text.as_str())]);
        let line = refusal(root.path(), &["-C", file]);
        assert!(line.contains(why), "{text}\n{line}");
    }
    let root = tempfile::tempdir().unwrap();
    let line = refusal(root.path(), &["-C", "absent.conf"]);
    assert!(line.contains("absent.conf: No such file"), "{line}");
}

#[test]
fn the_command_line_comes_before_the_file_and_the_file_before_the_environment() {
    let root = directory([(
        "z.toml",
        "listen = 'zeo://h.invalid:1'\nstorage = '1=file:x'\nread-only = true\n",
    )]);
    let arguments = ["-C", "z.toml", ANYWHERE, IN_MEMORY, "--read-only=false"];
    let server = serve_with(root.path(), &["ZEO_READ_ONLY=nonsense"], &arguments);
    assert_eq!(server.urls().len(), 1);
    let mut client = Client::register(server.connect(0), "1");
    client.commit(1, protocol::Tid::ZERO, b"data");
    server.stop();
    assert_eq!(names(root.path()), ["z.toml"]);

    let variable = |value: &str| {
        let arguments = owned(&[value, PROGRAM, ANYWHERE, IN_MEMORY]);
        let output = testkit::server::run("env", &arguments, root.path());
        String::from_utf8(output.stderr).unwrap()
    };
    let line = variable("ZEO_READ_ONLY=nonsense");
    assert!(line.contains("ZEO_READ_ONLY: invalid value 'nonsense' for '--read-only"), "{line}");
    let line = variable("ZEO_INVALIDATION_QUEUE_SIZE=-1");
    assert!(line.contains("ZEO_INVALIDATION_QUEUE_SIZE: invalid value '-1'"), "{line}");
}

#[test]
fn runzeos_options_are_there() {
    let root = directory([("empty.fs", "FS21")]);
    let arguments =
        ["-a", "127.0.0.1:0", "-f", "empty.fs", "-f", "x.fs", "-t", "30", "--pid-file=pid"];
    fs::write(root.path().join("pid"), "1\n").unwrap();
    let server = serve_in(root.path(), &arguments);
    assert!(server.urls()[0].starts_with("zeo://127.0.0.1:"), "{:?}", server.urls());
    assert_ne!(fs::read_to_string(root.path().join("pid")).unwrap(), "1\n");
    Client::register(server.connect(0), "1").commit(1, protocol::Tid::ZERO, b"data");
    Client::register(server.connect(0), "2");
    server.wait_for_log("empty.fs itself is neither read nor written");
    // Somebody else's by now.
    fs::write(root.path().join("pid"), "1\n").unwrap();
    server.stop();
    let mut left = names(root.path());
    left.sort();
    assert_eq!(left, ["empty.fs", "empty.fs.zeoxide", "pid", "x.fs.zeoxide"]);

    fs::write(root.path().join("empty.fs"), "FS21, and a transaction").unwrap();
    serve_in(root.path(), &arguments).stop();
}

#[test]
fn a_database_that_was_not_imported_is_not_taken_for_an_empty_one() {
    let root = directory([("Data.fs", "FS21, and a transaction")]);
    for arguments in [&["-f", "Data.fs"][..], &["--storage=1=file:Data.fs.zeoxide"]] {
        let line = refusal(root.path(), &[&[ANYWHERE], arguments].concat());
        assert!(
            line.contains("Data.fs has data")
                && line.contains("'zeoxide import Data.fs Data.fs.zeoxide'"),
            "{line}"
        );
    }
    let with_blobs = "--storage=1=file:Data.fs.zeoxide?blobs=blobs";
    let line = refusal(root.path(), &[ANYWHERE, with_blobs]);
    let command = "'zeoxide import Data.fs Data.fs.zeoxide --blobs-from OLD --blobs blobs'";
    assert!(line.contains(command), "{line}");
    // Nor is one where somebody only made the directory.
    fs::create_dir(root.path().join("Data.fs.zeoxide")).unwrap();
    refusal(root.path(), &[ANYWHERE, "-f", "Data.fs"]);
}
