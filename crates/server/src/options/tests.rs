use super::*;

fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
    Options::try_parse_from(std::iter::once(&"zeoxide").chain(arguments))
}

#[test]
fn the_definition_is_consistent() {
    use clap::CommandFactory as _;
    Options::command().debug_assert();
}

#[test]
fn defaults_are_those_of_the_contract() {
    let options = parse(&[]).unwrap();
    let listen: Vec<_> = options.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["zeo://127.0.0.1:8100", "proto://127.0.0.1:8101"]);
    let names: Vec<_> = options.storage.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["1"]);
    assert_eq!(options.invalidation_queue_size, 100);
    assert_eq!(options.max_message, 256 << 20);
    assert_eq!(options.max_outgoing, 64 << 20);
    assert!(!options.read_only);
    assert_eq!(options.storage_options(), storage::Options::default());
}

#[test]
fn given_values_replace_the_defaults() {
    let options = parse(&[
        "--listen",
        "zeo+msgpack://127.0.0.1:0",
        "--storage",
        "a=memory:",
        "--storage=b=file:x",
        "--sync=none",
        "--commit-locks=global",
        "--reads=mapped",
        "--max-message=1k",
        "--log=debug",
    ])
    .unwrap();
    assert_eq!(options.listen.len(), 1);
    assert_eq!(options.storage.len(), 2);
    assert_eq!(options.storage_options().sync, Sync::None);
    assert_eq!(options.storage_options().commit_locks, CommitLocks::Global);
    assert_eq!(options.storage_options().reads, Reads::Mapped);
    assert_eq!(options.limits().message_bytes, 1024);
    assert_eq!(options.log, LevelFilter::DEBUG);
}

#[test]
fn options_of_later_versions_are_not_swallowed() {
    for later in ["--lease=x", "--sync-standbys=1"] {
        assert_eq!(parse(&[later]).unwrap_err().kind(), clap::error::ErrorKind::UnknownArgument);
    }
}

#[test]
fn permissions_are_octal() {
    assert_eq!(parse(&["--unix-mode=660"]).unwrap().unix_mode, Some(0o660));
    for wrong in ["8", "1000", "rw"] {
        assert!(parse(&["--unix-mode", wrong]).is_err(), "{wrong}");
    }
}
