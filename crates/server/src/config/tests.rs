use std::path::PathBuf;

use clap::CommandFactory as _;

use super::*;
use crate::options::Options;

/// The files are named `text`, variables are the image's.
struct Fake(&'static str);

impl Source for Fake {
    fn read(&self, _: &Path) -> Result<String, String> {
        Ok(self.0.to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }
}

fn load_given(text: &'static str, given: &[&str]) -> Result<Settings, String> {
    let path = PathBuf::from("f");
    load(&path, &Fake(text), &Options::command(), &|option| given.contains(&option))
        .map_err(|wrong| wrong.to_string())
}

/// Options as they would stand on the command line, each with its line.
fn options(text: &'static str) -> Vec<String> {
    let settings = load_given(text, &[]).unwrap();
    settings.options.iter().map(|one| format!("{} {}={}", one.at, one.option, one.value)).collect()
}

fn notices(text: &'static str) -> Vec<String> {
    let settings = load_given(text, &["listen", "storage"]).unwrap();
    let line = |one: &Notice| {
        format!("{} {} {}", if one.is_warning { "warning" } else { "note" }, one.at, one.what)
    };
    settings.notices.iter().map(line).collect()
}

/// The documentation's example, which has the keys of the `plone/plone-zeo` image's file.
fn plone() -> &'static str {
    let page = include_str!("../../../../docs/configuration.md");
    let (_, rest) = page.split_once("```apache\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_file_of_plones_image_becomes_options() {
    assert_eq!(
        options(plone()),
        [
            "f:6 address=0.0.0.0:8100",
            "f:7 read-only=false",
            "f:8 invalidation-queue-size=100",
            "f:9 pid-file=/app/var/zeo.pid",
            "f:12 storage=1=file:/data/filestorage/Data.fs.zeoxide?blobs=/data/blobstorage",
            "f:21 log-file=/data/log/zeo.log",
            "f:19 log=info",
        ]
    );
    let notices = notices(plone());
    assert!(notices.iter().all(|one| one.starts_with("note ")), "{notices:?}");
    assert_eq!(notices.len(), 3);
    assert!(notices[0].contains("Data.fs itself is neither read nor written"), "{notices:?}");
    assert!(notices[0].contains(" --blobs-from OLD --blobs /data/blobstorage'"), "{notices:?}");
}

#[test]
fn all_of_zeo_is_read() {
    let text = "\
<zeo>
  address /run/zeo.sock
  msgpack YES
  read-only off
  invalidation-age 3600.5
  transaction-timeout 30
  client-conflict-resolution true
  <ssl>
    certificate cert.pem
    key key.pem
    authenticate clients
  </ssl>
</zeo>
<mappingstorage/>
";
    assert_eq!(
        options(text),
        [
            "f:2 address=/run/zeo.sock",
            "f:4 read-only=false",
            "f:3 msgpack=true",
            "f:5 invalidation-age=3600.5",
            "f:6 transaction-timeout=30",
            "f:9 tls-cert=cert.pem",
            "f:10 tls-key=key.pem",
            "f:11 tls-client-ca=clients",
            "f:14 storage=1=memory:",
        ]
    );
}

#[test]
fn storages_may_be_wrapped() {
    let text = "\
%import zc.zlibstorage
<zeo>
  address 1
</zeo>
<serverzlibstorage Main>
  <blobstorage inner>
    blob-dir blobs
    <filestorage>
      path a.fs
      read-only yes
    </filestorage>
  </blobstorage>
</serverzlibstorage>
";
    assert_eq!(
        options(text)[1..],
        ["f:5 storage=main=file:a.fs.zeoxide?blobs=blobs", "f:5 read-only=true"]
    );
}

#[test]
fn a_log_has_the_higher_level_of_section_and_file() {
    const START: &str = "<zeo>\naddress 1\n</zeo>\n<mappingstorage/>\n";
    for (log, expected) in [
        ("<eventlog/>", &[][..]),
        ("<eventlog>\nlevel WARNING\n</eventlog>", &["f:6 log=warn"]),
        (
            "<eventlog>\nlevel 25\n<logfile>\npath STDOUT\n</logfile>\n</eventlog>",
            &["f:8 log-file=STDOUT", "f:6 log=info"],
        ),
        (
            "<eventlog>\nlevel info\n<logfile>\npath x\nlevel critical\n</logfile>\n</eventlog>",
            &["f:8 log-file=x", "f:9 log=error"],
        ),
        (
            "<eventlog>\nlevel blather\n<logfile>\npath x\nlevel notset\n</logfile>\n</eventlog>",
            &["f:8 log-file=x", "f:6 log=debug"],
        ),
        (
            "<eventlog>\n<logfile>\npath x\nlevel all\n</logfile>\n</eventlog>",
            &["f:7 log-file=x", "f:8 log=trace"],
        ),
    ] {
        let text: &'static str = format!("{START}{log}").leak();
        assert_eq!(options(text)[2..], *expected, "{log}");
    }
}

#[test]
fn what_has_no_effect_is_told_once_with_its_line() {
    let text = "\
%import my.package
%import ZEO
stray key
<zeo>
  monitor-address 8101
  authentication-realm x
  client-conflict-resolution false
  colour green
  <tls/>
</zeo>
<filestorage>
  path x
  quota 1GB
  create true
  pack-gc no
</filestorage>
<logger>
  name x
</logger>
<eventlog>
  <logfile>
    path a
    max-size 5MB
    format %(message)s
    dateformat %Y
  </logfile>
  <logfile>
    path b
  </logfile>
  <syslog/>
</eventlog>
<runner>
  anything goes, 2
  <inside/>
</runner>
";
    let told = notices(text);
    let places: Vec<_> =
        told.iter().map(|one| one.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "warning f:1",
            "warning f:3",
            "warning f:17",
            "note f:7",
            "warning f:5",
            "warning f:6",
            "warning f:8",
            "warning f:9",
            "note f:11",
            "note f:14",
            "warning f:13",
            "warning f:23",
            "note f:24",
            "warning f:27",
            "warning f:30",
        ],
        "{told:#?}"
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_its_line() {
    const ZEO: &str = "<zeo>\naddress 1\n</zeo>\n";
    for (text, complains) in [
        ("<mappingstorage/>", "f: there is no <zeo> section"),
        ("<zeo>\n</zeo>\n<mappingstorage/>", "f:1: <zeo> needs 'address'"),
        ("<zeo>\naddress\n</zeo>", "f:2: 'address' has no value"),
        ("<zeo>\naddress 1\nAddress 2\n</zeo>", "f:3: 'address' was given before, at f:2"),
        ("<zeo>\naddress 1\nread-only 1\n</zeo>", "f:3: 'read-only' is true, yes, on, false,"),
        ("<zeo/>\n<zeo/>", "f:2: a second <zeo>; the first is at f:1"),
        ("Z", "f: there is no storage to serve"),
        ("Z<filestorage/>", "f:4: <filestorage> needs 'path'"),
        ("Z<filestorage>\npath a?b\n</filestorage>", "f:4: the name of a storage cannot"),
        ("Z<mappingstorage a=b/>", "f:4: the name of a storage cannot"),
        ("Z<mappingstorage/>\n<mappingstorage 1/>", "f:5: a second storage '1'"),
        ("Z<demostorage>\n</demostorage>", "f:4: <demostorage> cannot be served"),
        ("Z<zlibstorage>\n</zlibstorage>", "f:4: <zlibstorage> is for clients"),
        ("Z<zeoclient/>", "f:4: <zeoclient> cannot be served"),
        ("Z<serverzlibstorage/>", "f:4: <serverzlibstorage> needs one storage inside"),
        (
            "Z<blobstorage>\nblob-dir b\n<filestorage>\npath x\nblob-dir c\n</filestorage>\n</blobstorage>",
            "f:5: the storage inside has a blob-dir of its own",
        ),
        (
            "Z<filestorage a>\npath x\nread-only true\n</filestorage>\n<mappingstorage/>",
            "f:4: this storage is read-only and another is not",
        ),
        ("Z<mappingstorage/>\n<eventlog>\nlevel loud\n</eventlog>", "f:6: 'loud' is no level"),
        (
            "<zeo>\naddress 1\n<ssl>\ncertificate c\n</ssl>\n</zeo>",
            "f:3: <ssl> needs 'authenticate'",
        ),
        (
            "<zeo>\naddress 1\n<ssl>\ncertificate c\nauthenticate DYNAMIC\n</ssl>\n</zeo>",
            "f:5: 'authenticate DYNAMIC' is for Python",
        ),
        (
            "<zeo>\naddress 1\n<ssl>\ncertificate c\nauthenticate a\npassword-function m.f\n</ssl>\n</zeo>",
            "f:6: 'password-function m.f' names a function in Python",
        ),
    ] {
        let text: &'static str = match text.strip_prefix('Z') {
            Some(rest) => format!("{ZEO}{rest}").leak(),
            None => text,
        };
        let told = load_given(text, &[]).unwrap_err();
        assert!(told.starts_with(complains), "{text}: {told}");
    }
}

#[test]
fn what_is_given_elsewhere_need_not_be_in_the_file() {
    let settings = load_given("<eventlog/>", &["address", "filename"]).unwrap();
    assert_eq!(settings.options, []);
    let text = "<zeo>\n<ssl>\ncertificate c\nauthenticate a\npassword-function f\n</ssl>\n</zeo>";
    load_given(text, &["listen", "storage", "tls-key-password-file"]).unwrap();
}

#[test]
fn toml_has_a_key_for_each_option() {
    let text = r#"
# The same words as on the command line.
listen = ["zeo://0.0.0.0:8100",
          "proto://127.0.0.1:0"]
read-only = true
threads = 4
transaction-timeout = 1.5
cache = "128M"

[storage]
1 = "file:/srv/main?blobs=/srv/blobs"
"a b" = "memory:"
"#;
    let mut read = options(text);
    read.sort();
    assert_eq!(
        read,
        [
            "f:11 storage=1=file:/srv/main?blobs=/srv/blobs",
            "f:12 storage=a b=memory:",
            "f:3 listen=zeo://0.0.0.0:8100",
            "f:4 listen=proto://127.0.0.1:0",
            "f:5 read-only=true",
            "f:6 threads=4",
            "f:7 transaction-timeout=1.5",
            "f:8 cache=128M",
        ]
    );
    assert_eq!(
        options("storage = ['1=memory:']\nlisten = 'zeo://h:1'\n"),
        ["f:2 listen=zeo://h:1", "f:1 storage=1=memory:"]
    );
    for option in Options::command().get_arguments() {
        let key = option.get_long().expect("every option has a long name");
        let text: &'static str = format!("{key} = 'x'").leak();
        let expected = if key == "config" { Err(()) } else { Ok(1) };
        assert_eq!(
            load_given(text, &[]).map(|it| it.options.len()).map_err(drop),
            expected,
            "{key}"
        );
    }
}

#[test]
fn wrong_toml_is_told_with_its_line() {
    for (text, complains) in [
        ("\nlisten = [", "f:2: "),
        ("a\nb", "f:1: "),
        ("\n\nlisten = 'x'\nlisten = 'y'", "f:4: duplicate key"),
        ("threads = 1\ncolour = 'green'", "f:2: 'colour' is not an option"),
        ("config = 'x'", "f:1: 'config' is not an option"),
        ("help = true", "f:1: 'help' is not an option"),
        ("threads = [1]", "f:1: 'threads' takes one value"),
        ("threads = 0x10", "f:1: 'threads' takes one value"),
        ("listen = [\n'a',\n['b']]", "f:3: 'listen' takes one value"),
        ("[tls]\ncert = 'x'", "f:1: 'tls' is not an option"),
        ("[storage]\n1 = {}", "f:2: 'storage' takes one value"),
        ("pid-file = 2026-01-01", "f:1: 'pid-file' takes one value"),
    ] {
        let told = load_given(text, &[]).unwrap_err();
        assert!(told.starts_with(complains), "{text:?}: {told}");
        assert!(!told.contains('\n'), "{told:?}");
    }
}

#[test]
fn content_decides_what_a_file_is_unless_its_name_does() {
    for (name, text, expected) in [
        ("zeo.conf", "# hello\n\n  <zeo>", true),
        ("zeo.conf", "%define a b", true),
        ("zeoxide.toml", "<zeo>", false),
        ("server.conf", "# hello\nlisten = 'x'", false),
        ("empty", "", false),
    ] {
        assert_eq!(is_zconfig(Path::new(name), text), expected, "{name} {text}");
    }
}
