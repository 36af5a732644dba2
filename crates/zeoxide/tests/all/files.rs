//! Commands on files.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use datafs::{Magic, Record, Status, Transaction, Writer};
use protocol::{Oid, Tid};
use serde_json::Value;

use crate::{data, run, zeoxide};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The file with what a crash in the middle of a commit leaves.
fn torn(folder: &Path) -> (std::path::PathBuf, usize) {
    let path = folder.join("torn.fs");
    let mut bytes = std::fs::read(data("undos.fs")).unwrap();
    let whole = bytes.len();
    bytes.extend_from_within(4..60);
    bytes[whole] = 5;
    std::fs::write(&path, bytes).unwrap();
    (path, whole)
}

/// The file with a wrong byte in its middle.
fn damaged(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("damaged.fs");
    let mut bytes = std::fs::read(data("undos.fs")).unwrap();
    // The status of the second transaction.
    bytes[4 + 90 + 16] = b'?';
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn dump_prints_all_that_is_there() {
    let (status, text, errors) = run([Path::new("dump"), &data("undos.fs")]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "transaction 040cb6c104444444 2026-11-01T00:01:01.000000Z at 4, 90 bytes",
            "  user: maker",
            "  description: the root",
            "  record 0000000000000000 at 40: 4 bytes",
        ]
    );
    assert!(text.contains("  extension: {\"a\":1}\n"), "{text}");
    assert!(text.contains(": 5 bytes, of revision 040cb6c208888888\n"), "{text}");
    assert!(text.contains(": deleted, or its creation undone\n"), "{text}");
}

#[test]
fn dump_prints_json_for_programs() {
    let path = data("random.fs");
    let path = path.to_str().unwrap();
    let (status, text, _) = run(["dump", "--json", path]);
    let all = json_lines(&text);
    assert_eq!(status, 0);
    // What ZODB's own iterator has found.
    let wanted = std::fs::read_to_string(data("random.txt")).unwrap();
    assert_eq!(all.len(), wanted.lines().count());
    for (line, wanted) in all.iter().zip(wanted.lines()) {
        let words: Vec<&str> = wanted.split(' ').collect();
        assert_eq!(line["kind"], words[0]);
        match words[0] {
            "transaction" => assert_eq!(line["tid"], words[1]),
            _ => {
                assert_eq!(line["oid"], words[1]);
                let bytes = (words[2] != "-").then_some(words[2].len() / 2);
                assert_eq!(line["bytes"].as_u64().map(|bytes| bytes as usize), bytes);
                assert_eq!(line["origin"].as_str(), Some(words[3]).filter(|word| *word != "-"));
            }
        }
    }
    let second = all.iter().filter(|line| line["kind"] == "transaction").nth(1).unwrap();
    let after = second["tid"].as_str().unwrap();
    let (_, text, _) = run(["dump", "--json", "--no-records", "--after", after, path]);
    let transactions: Vec<_> = all.iter().filter(|line| line["kind"] == "transaction").collect();
    assert_eq!(json_lines(&text).iter().collect::<Vec<_>>(), transactions[2..]);
}

#[test]
fn a_torn_end_is_told_and_is_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = torn(folder.path());
    let path = path.to_str().unwrap();
    let (status, text, errors) = run(["dump", path]);
    assert_eq!((status, text.lines().next().is_some()), (0, true));
    assert!(errors.contains(&format!("at offset {whole} there are 56 bytes more")), "{errors}");
    let (status, text, _) = run(["verify", path]);
    assert_eq!(status, 0);
    assert!(text.contains(&format!("torn end      at offset {whole}: ")), "{text}");
    let to = folder.path().join("to.fs");
    let (status, text, _) = run(["copy", path, to.to_str().unwrap()]);
    assert_eq!(status, 0);
    assert!(text.contains(&format!("left out at offset {whole}: ")), "{text}");
    assert!(std::fs::read(&to).unwrap() == std::fs::read(data("undos.fs")).unwrap());
}

#[test]
fn verify_counts_and_finds_nothing() {
    for name in ["undos.fs", "random.fs", "packed.fs", "python2.fs"] {
        let path = data(name);
        let (status, text, errors) = run(["verify", "--json", path.to_str().unwrap()]);
        assert_eq!((status, errors.as_str()), (0, ""), "{text}");
        let found: Value = serde_json::from_str(&text).unwrap();
        let wanted = std::fs::read_to_string(data(&name.replace(".fs", ".txt"))).unwrap();
        let count = |kind| wanted.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!(found["transactions"], count("transaction"));
        assert_eq!(found["records"], count("record"));
        assert_eq!(found["checked_bytes"], std::fs::metadata(&path).unwrap().len());
        let (_, text, _) = run(["verify", path.to_str().unwrap()]);
        assert!(text.ends_with("nothing is wrong\n"), "{text}");
    }
}

#[test]
fn damage_is_told_by_verify_and_ends_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = damaged(folder.path());
    let path = path.to_str().unwrap();
    let wrong = "is damaged at offset 94: a transaction's status is 0x3f";
    let (status, text, _) = run(["verify", path]);
    assert_eq!(status, 1);
    assert!(text.contains("WRONG: ") && text.contains(wrong), "{text}");
    let (status, text, errors) = run(["dump", path]);
    assert_eq!((status, text.lines().count()), (1, 4));
    assert!(errors.contains(wrong), "{errors}");
    let to = folder.path().join("to.fs");
    let (status, _, errors) = run(["copy", path, to.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(errors.contains("after 1 of its transactions") && errors.contains(wrong), "{errors}");
    let copied = std::fs::read(&to).unwrap();
    assert!(std::fs::read(data("undos.fs")).unwrap().starts_with(&copied));
    assert_eq!(copied.len(), 94);
}

/// FileStorage would not find the older revisions of this object.
#[test]
fn verify_finds_a_wrong_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    fill(&mut writer, 3, 1, false);
    let (status, text, _) = run(["verify", path.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert_eq!(text.matches("WRONG: the record of object 0000000000000000").count(), 2, "{text}");
    assert!(text.contains("points to 0 as the object's previous one, which is at "), "{text}");
}

/// So many transactions of so many objects, always the same ones.
fn fill(writer: &mut Writer, transactions: u64, objects: u64, linked: bool) {
    for tid in 1..=transactions {
        let (user, description, extension) = Default::default();
        let status = Status::Complete;
        let tid = Tid(tid);
        let transaction = Transaction { tid, status, user, description, extension };
        writer.begin(&transaction).unwrap();
        for oid in 0..objects {
            let data = Some(b"x"[..].into());
            writer.record(&Record { oid: Oid(oid), data, origin: None, linked }).unwrap();
        }
        writer.finish().unwrap();
    }
    writer.sync().unwrap();
}

#[test]
fn a_copy_is_the_same_file_and_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to.fs");
    let to = to.to_str().unwrap();
    let from = data("packed.fs");
    let from = from.to_str().unwrap();
    let whole = std::fs::read(from).unwrap();
    let (status, text, _) = run(["copy", from, to]);
    assert_eq!(status, 0);
    assert!(text.starts_with("copied 19 transactions, 31 records, "), "{text}");
    assert!(std::fs::read(to).unwrap() == whole);
    let (status, _, errors) = run(["copy", from, to]);
    assert_eq!(status, 1);
    assert!(errors.contains("exists already") && errors.contains("--resume"), "{errors}");
    std::fs::write(to, &whole[..whole.len() - 700]).unwrap();
    let (status, text, _) = run(["copy", "--resume", from, to]);
    assert_eq!((status, std::fs::read(to).unwrap() == whole), (0, true), "{text}");
    let (status, _, errors) = run(["copy", "--resume", data("random.fs").to_str().unwrap(), to]);
    assert_eq!(status, 1);
    assert!(errors.contains("is no copy of it"), "{errors}");
    assert!(std::fs::read(to).unwrap() == whole);
}

#[test]
fn an_interrupt_ends_a_command_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    fill(&mut writer, 2, 20_000, true);
    let mut child = zeoxide().arg("dump").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // It runs, and then stops at a full pipe.
    out.read_exact(&mut [0]).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(text.ends_with('\n') && text.lines().count() < 20_000, "{}", text.lines().count());
}

#[test]
fn whoever_reads_along_may_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    fill(&mut writer, 2, 20_000, true);
    let mut child = zeoxide()
        .arg("dump")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(0), None));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn bench_is_the_load_generator() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("zeoxide");
    std::fs::copy(env!("CARGO_BIN_EXE_zeoxide"), &program).unwrap();
    let bench = |arguments: &[&str]| {
        // Its own PATH, where no other load generator is.
        let mut command = Command::new(&program);
        command.arg("bench").args(arguments).env("PATH", folder.path()).output().unwrap()
    };
    let output = bench(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cargo build --release -p loadgen"));
    let loadgen = folder.path().join("zeoxide-loadgen");
    std::fs::write(&loadgen, "#!/bin/sh\necho \"$@\"\nexit 7\n").unwrap();
    std::fs::set_permissions(&loadgen, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = bench(&["run", "--help", "zeo://localhost:1"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"run --help zeo://localhost:1\n");
}
