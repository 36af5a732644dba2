//! A pack that a server does.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use client::{CallError, Client};
use codecs::Endpoint;
use protocol::{Failure, Tid};

use super::Options;
use crate::End;
use crate::interrupt::Interrupt;
use crate::pack_status::PackStatus;
use crate::progress::Progress;
use crate::text::{size, time};

/// Storages are packed one after the other; where one fails, the others are packed all the same.
pub(crate) fn run(
    url: &Endpoint,
    options: &Options,
    before: Tid,
    interrupt: &Interrupt,
) -> Result<End> {
    let mut end = End::Good;
    // The name that ZEO gives to a storage that was given none.
    let default = ["1".to_owned()];
    let names = if options.storages.is_empty() { &default[..] } else { &options.storages };
    for name in names {
        if interrupt.is_set() {
            return Ok(End::Interrupted);
        }
        let storage = Storage { url, name, options };
        match storage.pack(before, interrupt) {
            Ok(End::Interrupted) => return Ok(End::Interrupted),
            Ok(_) => {}
            Err(error) => {
                eprintln!("zeoxide: {error:#}");
                end = End::Wrong;
            }
        }
    }
    Ok(end)
}

/// A storage of a server.
#[derive(Debug)]
struct Storage<'a> {
    url: &'a Endpoint,
    name: &'a str,
    options: &'a Options,
}

impl Storage<'_> {
    fn pack(&self, before: Tid, interrupt: &Interrupt) -> Result<End> {
        let (url, name) = (self.url, self.name);
        let client = Arc::new(self.options.connect.client(url, name)?);
        let bytes = client.info().with_context(|| self.failed("cannot ask"))?.size;
        if self.options.no_wait {
            // The answer would not tell.
            if self.status().is_some_and(|pack| pack.running) {
                return Err(self.explain(CallError::Failed(already_packing())));
            }
            client.ask_for_pack(before).map_err(|error| self.explain(error))?;
            println!(
                "storage '{name}': asked to pack {} to {}; `zeoxide status {url}` tells how far that is",
                size(bytes),
                time(before)
            );
            return Ok(End::Good);
        }
        let packed = wait_elsewhere(&client, before)?;
        let Some(packed) = self.wait(&packed, interrupt)? else {
            eprintln!(
                "storage '{name}': the server goes on with the pack; `zeoxide status {url}` tells how far it is"
            );
            return Ok(End::Interrupted);
        };
        packed.map_err(|error| self.explain(error))?;
        let now = client.info().with_context(|| self.failed("packed, but cannot ask"))?.size;
        let (to, bytes, now) = (time(before), size(bytes), size(now));
        println!("storage '{name}': packed to {to}: {bytes} before, {now} now");
        Ok(End::Good)
    }

    /// Until there is an answer; `None`: interrupted.
    fn wait(
        &self,
        packed: &Receiver<Result<(), CallError>>,
        interrupt: &Interrupt,
    ) -> Result<Option<Result<(), CallError>>> {
        let mut progress = Progress::of_pack("packing");
        let answer = loop {
            match packed.recv_timeout(LOOK_EVERY) {
                Ok(packed) => break Some(packed),
                Err(RecvTimeoutError::Timeout) if interrupt.is_set() => break None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(pack) = self.status().filter(|pack| pack.running) {
                        progress.tell_pack(pack);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(anyhow!("the thread that waits for the server has panicked"));
                }
            }
        };
        progress.end();
        Ok(answer)
    }

    /// `None`: the server does not tell, or knows of no pack.
    fn status(&self) -> Option<PackStatus> {
        let status = self.options.connect.ask_status(self.url).ok()?;
        PackStatus::parse(status.storages.get(self.name)?.get("pack")?)
    }

    fn explain(&self, error: CallError) -> anyhow::Error {
        let url = self.url;
        match error {
            CallError::Failed(failure) if failure.to_string().contains(ALREADY_PACKING) => anyhow!(
                "{}: a pack is under way already; `zeoxide status {url}` tells how far it is",
                self.failed("not packed")
            ),
            CallError::Send(lost) => anyhow!(lost).context(format!(
                "{}: the server goes on with the pack unless it has ended, and then with its next start",
                self.failed("the connection is lost")
            )),
            error => anyhow!(error).context(self.failed("not packed")),
        }
    }

    fn failed(&self, what: &str) -> String {
        format!("{}: storage '{}': {what}", self.url, self.name)
    }
}

/// Where the answer arrives, while the client can be asked other questions.
fn wait_elsewhere(client: &Arc<Client>, before: Tid) -> Result<Receiver<Result<(), CallError>>> {
    let (answer, packed) = channel();
    let waiting = Arc::clone(client);
    let thread = thread::Builder::new().name("zeoxide-pack".to_owned());
    // Nobody listens after an interruption.
    let spawned = thread.spawn(move || _ = answer.send(waiting.pack(before)));
    spawned.context("cannot start a thread")?;
    Ok(packed)
}

fn already_packing() -> Failure {
    Failure::Storage(ALREADY_PACKING.to_owned())
}

/// ZEO's words, and ours.
const ALREADY_PACKING: &str = "Already packing";

/// For the end of the command, and for what the server tells.
const LOOK_EVERY: Duration = Duration::from_millis(500);
