//! A server's binary, started for a test: waits until it is ready, reads its log, ends it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    urls: Vec<String>,
    log: Arc<Log>,
    /// Reads the log; ends with the server.
    collector: Option<JoinHandle<()>>,
}

/// The lines on standard error so far, which a thread collects.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl ServerProcess {
    /// Starts `program` and waits until it is ready. Panics, with its log, if it ends instead.
    pub fn start(program: &str, arguments: &[String], directory: &Path) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("it is piped");
        let collect = Arc::clone(&log);
        let collector = thread::spawn(move || collect.collect(BufReader::new(stderr)));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Self { child, urls: Vec::new(), log, collector: Some(collector) };
        for line in stdout.lines() {
            let line = line.expect("what it prints is UTF-8");
            if line == "ready" {
                return server;
            }
            let url = line.strip_prefix("listening ").expect("nothing else is printed");
            server.urls.push(url.to_owned());
        }
        panic!("the server did not get ready: {:?}", server.log());
    }

    /// Its listeners, in the order in which they were asked for, with their real ports.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Connects to the listener at `index`; reads have a time limit.
    pub fn connect(&self, index: usize) -> Box<dyn Socket> {
        connect(self.urls.get(index).expect("there is such a listener"))
    }

    /// Kills the server, wherever it is, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.wait();
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line in the log that contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in the log: {lines:?}");
            (lines, _) =
                self.log.grown.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("there is `kill`");
        assert!(sent.success(), "the server runs");
    }

    /// The most memory that the server has had, so far.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the server runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("Linux tells it") << 10
    }

    /// Lets no file of the server's grow beyond `bytes`, as a full disk would; `None`: no limit.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let limited = Command::new("prlimit")
            .arg(format!("--pid={}", self.child.id()))
            .arg(format!("--fsize={soft}:"))
            .status()
            .expect("there is `prlimit`");
        assert!(limited.success(), "the server runs");
    }

    /// Waits for the end, and until the log is whole.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("it is our child");
        if let Some(collector) = self.collector.take() {
            collector.join().expect("it only reads lines");
        }
        status
    }

    /// Ends the server as a supervisor does. Returns the whole log.
    pub fn stop(mut self) -> Vec<String> {
        self.signal("TERM");
        let status = self.wait();
        let log = self.log();
        assert!(status.success(), "{status}: {log:?}");
        log
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It has ended if all went well.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Log {
    fn collect(&self, stderr: impl std::io::BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            self.grown.notify_all();
        }
    }
}

/// Runs `program` to its end, which comes by itself.
pub fn run(program: &str, arguments: &[String], directory: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built for this test")
}

/// Connects to a listener, whose URL has any scheme; reads have a time limit.
pub fn connect(url: &str) -> Box<dyn Socket> {
    let (scheme, place) = url.split_once("://").expect("it is a URL");
    if scheme.ends_with("+unix") {
        let stream = UnixStream::connect(PathBuf::from(place)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit above zero");
        Box::new(stream)
    } else {
        let stream = TcpStream::connect(place).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit above zero");
        stream.set_nodelay(true).expect("it is TCP");
        Box::new(stream)
    }
}

/// A stream to a server.
pub trait Socket: Read + Write + Send {
    /// Ends the sending direction, as a client that goes in the middle of something.
    fn hang_up(&self);
}

impl Socket for TcpStream {
    fn hang_up(&self) {
        self.shutdown(Shutdown::Write).expect("the stream is open");
    }
}

impl Socket for UnixStream {
    fn hang_up(&self) {
        self.shutdown(Shutdown::Write).expect("the stream is open");
    }
}

/// Writes one message with its length prefix.
pub fn write_frame(stream: &mut dyn Socket, message: &[u8]) {
    let length = u32::try_from(message.len()).expect("tests send short messages");
    let frame = [&length.to_be_bytes(), message].concat();
    stream.write_all(&frame).expect("the server takes it");
}

/// Reads one message; `None`: the server closed the connection.
pub fn read_frame(stream: &mut dyn Socket) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    read_or_end(stream, &mut prefix)?;
    let length = usize::try_from(u32::from_be_bytes(prefix)).expect("it fits in memory");
    let mut message = vec![0; length];
    read_or_end(stream, &mut message)?;
    Some(message)
}

/// A reset is an end as well: it comes where the server had not read all.
fn read_or_end(stream: &mut dyn Socket, bytes: &mut [u8]) -> Option<()> {
    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
    match stream.read_exact(bytes) {
        Ok(()) => Some(()),
        Err(error) if [ConnectionReset, UnexpectedEof].contains(&error.kind()) => None,
        Err(error) => panic!("reading from the server: {error}"),
    }
}
