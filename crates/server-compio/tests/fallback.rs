//! Where the kernel refuses io_uring, the server says so once and serves all the same.

use std::process::Command;

use testkit::server::{ServerProcess, read_frame, write_frame};

#[test]
fn a_kernel_without_io_uring_costs_one_warning() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "-c",
        REFUSE,
        env!("CARGO_BIN_EXE_zeoxide-compio"),
        "--listen=zeo+msgpack://127.0.0.1:0",
        "--storage=1=memory:",
        "--threads=3",
    ];
    let server =
        ServerProcess::start("python3", &arguments.map(ToOwned::to_owned), directory.path());
    for _ in 0..4 {
        let mut socket = server.connect(0);
        assert_eq!(read_frame(&mut *socket).unwrap(), b"M5");
        write_frame(&mut *socket, b"ruok");
        let status = String::from_utf8(read_frame(&mut *socket).unwrap()).unwrap();
        assert!(status.starts_with(r#"{"1": {"#), "{status}");
    }
    let log = server.stop();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log:?}");
    assert!(warnings[0].contains("refuses io_uring (Operation not permitted"), "{warnings:?}");
}

#[test]
fn a_kernel_with_io_uring_costs_none() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--listen=zeo+msgpack://127.0.0.1:0", "--storage=1=memory:"];
    let program = env!("CARGO_BIN_EXE_zeoxide-compio");
    let server = ServerProcess::start(program, &arguments.map(ToOwned::to_owned), directory.path());
    let log = server.stop();
    let is_refused = !Command::new("python3").args(["-c", ASK]).status().unwrap().success();
    assert_eq!(log.iter().any(|line| line.contains("WARN")), is_refused, "{log:?}");
}

/// Fails where `io_uring_setup` does.
const ASK: &str = "
import ctypes, sys
sys.exit(ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) < 0)
";

/// Runs its arguments where `io_uring_setup` (425 on all architectures) fails, as it does in many
/// containers: with a filter of system calls.
const REFUSE: &str = "
import ctypes, os, struct, sys
ERRNO, ALLOW, EPERM = 0x50000, 0x7fff0000, 1
filter = b''.join(struct.pack('HBBI', *step) for step in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, ERRNO | EPERM), (0x06, 0, 0, ALLOW)])
memory = ctypes.create_string_buffer(filter)
program = struct.pack('HxxxxxxP', 4, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
for call in [(38, 1, 0, 0, 0), (22, 2, program, 0, 0)]:
    if libc.prctl(*call):
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
";
