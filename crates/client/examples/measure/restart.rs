//! How long a server with a million objects takes to start after it was killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use codecs::{Endpoint, WithCodec, dispatch};
use protocol::{Codec, Oid, Tid};

use crate::Failed;
use crate::process::resident_mib;
use crate::work::{Blocking, FIRST_LOADED};

const OBJECTS: u64 = 1_000_000;
const RECORD_BYTES: usize = 200;
/// Of the index files: 28 for each object, but for the last 32 MiB of the log.
const INDEXED_BYTES: u64 = 28 * OBJECTS * 8 / 10;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn measure(rounds: usize, binary: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let storage = directory.path().join("data");
    let server = Running::start(binary, &storage)?;
    dispatch(server.endpoint.dialect, Fill(&server.endpoint))?;
    let mut server = Some(server);
    for round in 0..rounds {
        for index in [true, false] {
            if let Some(server) = server.take() {
                wait_for_index(&storage)?;
                server.kill()?;
            }
            if !index {
                remove_index(&storage)?;
            }
            let began = Instant::now();
            let started = Running::start(binary, &storage)?;
            let seconds = began.elapsed().as_secs_f64();
            dispatch(started.endpoint.dialect, Check(&started.endpoint))?;
            let resident = resident_mib(started.child.id())?;
            println!(
                "{{\"workload\":\"restart\",\"round\":{round},\"objects\":{OBJECTS},\
                 \"record_bytes\":{RECORD_BYTES},\"index_files\":{index},\
                 \"seconds_to_ready\":{seconds:.3},\"resident_mib\":{resident:.1}}}"
            );
            server = Some(started);
        }
    }
    Ok(())
}

fn index_files(storage: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(storage.join("segments"))?;
    let paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, Failed>>()?;
    let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "idx");
    Ok(paths.into_iter().filter(is_index).collect())
}

fn remove_index(storage: &Path) -> Result<(), Failed> {
    Ok(index_files(storage)?.iter().try_for_each(fs::remove_file)?)
}

/// Until all is indexed but what a server indexes when it is stopped in order.
fn wait_for_index(storage: &Path) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = 0;
    while Instant::now() < deadline {
        let files = index_files(storage)?;
        let bytes = files.iter().map(|path| Ok(fs::metadata(path)?.len()));
        let bytes = bytes.sum::<Result<u64, Failed>>()?;
        // A file that grows has a block that is not whole.
        if bytes >= INDEXED_BYTES && bytes == before {
            return Ok(());
        }
        before = bytes;
        thread::sleep(Duration::from_millis(100));
    }
    Err("the server does not write its index files".into())
}

struct Running {
    child: Child,
    endpoint: Endpoint,
}

impl Running {
    /// Returns when it is ready.
    fn start(binary: &str, storage: &Path) -> Result<Self, Failed> {
        let mut child = Command::new(binary)
            .arg("--listen=zeo+msgpack://127.0.0.1:0")
            .arg(format!("--storage=1=file:{}", storage.display()))
            .arg("--log=warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut endpoint = None;
        for line in BufReader::new(child.stdout.take().ok_or("no standard output")?).lines() {
            match (line?.as_str(), endpoint.take()) {
                ("ready", Some(endpoint)) => return Ok(Self { child, endpoint }),
                (line, _) => {
                    let url = line.strip_prefix("listening ").ok_or("not what a server prints")?;
                    endpoint = Some(url.parse()?);
                }
            }
        }
        Err("the server ended before it was ready".into())
    }

    fn kill(mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and then there is nothing to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

struct Fill<'a>(&'a Endpoint);

impl WithCodec for Fill<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        Blocking::<C>::open(self.0)?.fill(OBJECTS, RECORD_BYTES)
    }
}

/// The last object is there.
struct Check<'a>(&'a Endpoint);

impl WithCodec for Check<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        match Blocking::<C>::open(self.0)?.current_tid(Oid(FIRST_LOADED + OBJECTS - 1))? {
            Tid::ZERO => Err("the last object is lost".into()),
            _ => Ok(()),
        }
    }
}
