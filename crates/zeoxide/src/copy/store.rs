//! A storage of our own as a sink.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, Thread};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use datafs::Record;
use protocol::{Failure, Tid};
use storage::disk::{Disk, RealDisk};
use storage::{
    Completion, Event, Kind, Location, Mailbox, Meta, OpenError, Options, ReplyTo, Storage, Sync,
    SystemClock, Ticket, Transaction, Upload, Vote, Wake,
};

use super::blobs::{BlobFolder, Transfer, transfer};
use super::{Extensions, Head, Sink, Source, StoreSource};

/// A storage that is appended to. Until [`Self::close`] what it has is safe from the end of this
/// process, and after a crash of the machine it has the first of its transactions.
pub(crate) struct StoreSink {
    dir: PathBuf,
    blobs: Option<BlobFolder>,
    transfer: Transfer,
    storage: Arc<dyn Storage>,
    answers: Answers,
    last_tid: Tid,
    open: Option<Open>,
    /// A finish that is not answered yet.
    finishing: Option<Ticket>,
    extensions: Extensions,
}

struct Open {
    tid: Tid,
    transaction: Box<dyn Transaction>,
}

impl StoreSink {
    /// Opens a storage, or makes one, and keeps others from it.
    pub(crate) fn open(dir: &Path, blobs: Option<&Path>, how: Transfer) -> Result<Self> {
        let location =
            Location { kind: Kind::File(dir.to_owned()), blobs: blobs.map(Path::to_owned) };
        // One thread commits, and nothing that it needs was read before; all is synced at the end.
        let options = Options { sync: Sync::None, cache_bytes: 0, ..Options::default() };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let storage = storage::open(&location, options, &disk, Arc::new(SystemClock));
        let storage = storage.map_err(|error| match error {
            OpenError::Locked(_) => {
                anyhow!("{error}: a server that runs on it must be stopped first")
            }
            error => error.into(),
        })?;
        let answers = Answers::new();
        let last_tid = storage.subscribe(&answers.mailbox);
        storage.unsubscribe(&answers.mailbox);
        Ok(Self {
            dir: dir.to_owned(),
            blobs: blobs.map(BlobFolder::open).transpose()?,
            transfer: how,
            storage,
            answers,
            last_tid,
            open: None,
            finishing: None,
            extensions: Extensions::default(),
        })
    }

    /// Ends its use; all of it is durable then.
    pub(crate) fn close(mut self) -> Result<()> {
        self.settle()?;
        self.storage.close();
        let segments = self.dir.join("segments");
        let failed = || format!("cannot sync {}", segments.display());
        for entry in std::fs::read_dir(&segments).with_context(failed)? {
            let synced = entry.and_then(|entry| File::open(entry.path())?.sync_all());
            synced.with_context(failed)?;
        }
        File::open(&segments).and_then(|folder| folder.sync_all()).with_context(failed)
    }

    /// Of the transactions that were appended.
    pub(crate) fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Waits for the finish that is under way.
    fn settle(&mut self) -> Result<()> {
        let Some(ticket) = self.finishing.take() else { return Ok(()) };
        match self.answers.wait(ticket) {
            Completion::Finished(finished) => {
                finished.map(drop).map_err(|error| self.failed(error))
            }
            other => bail!("a finish was answered by {other:?}"),
        }
    }

    fn failed(&self, failure: Failure) -> anyhow::Error {
        anyhow!("{}: {failure}", self.dir.display())
    }

    /// The storage's own copy of a blob.
    fn upload(&self, oid: protocol::Oid, tid: Tid, blob: &Path) -> Result<Upload> {
        let folder = self.blobs.as_ref().with_context(|| {
            format!("{} has blobs: --blobs must say where they go", blob.display())
        })?;
        let name = format!("{tid}.tmp");
        let object = folder.file(oid, tid);
        let shared = object.with_file_name(&name);
        transfer(blob, &shared, self.transfer)?;
        self.storage.take_shared(oid, &name).map_err(|failure| self.failed(failure))
    }
}

impl Sink for StoreSink {
    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn last_tid(&self) -> Option<Tid> {
        (self.last_tid != Tid::ZERO).then_some(self.last_tid)
    }

    fn read_back(&self) -> Result<Box<dyn Source>> {
        let blobs = self.blobs.as_ref().map(BlobFolder::path);
        Ok(Box::new(StoreSource::open(&self.dir, blobs)?))
    }

    fn begin(&mut self, head: &Head) -> Result<()> {
        self.extensions.note(head);
        let transaction = &head.transaction;
        let meta = Meta {
            user: transaction.user.clone(),
            description: transaction.description.clone(),
            extension: head.kept_extension(),
            tid: Some(transaction.tid),
            status: transaction.status.to_byte(),
        };
        let handle = self.storage.begin(meta);
        self.open = Some(Open { tid: transaction.tid, transaction: handle });
        Ok(())
    }

    fn record(&mut self, record: &Record, blob: Option<&Path>) -> Result<()> {
        let mut open = self.open.take().context("no transaction is begun")?;
        let stored = match blob {
            None => Ok(()),
            Some(blob) => {
                // What follows takes the place of the data, and the blob stays.
                let upload = self.upload(record.oid, open.tid, blob)?;
                open.transaction.store_blob(record.oid, Tid::ZERO, Bytes::new(), upload)
            }
        };
        let stored = stored.and_then(|()| {
            open.transaction.restore(record.oid, record.data.clone(), record.origin)
        });
        stored.map_err(|failure| self.failed(failure))?;
        self.open = Some(open);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Open { tid, mut transaction } = self.open.take().context("no transaction is begun")?;
        let reply = self.answers.reply_to();
        let ticket = reply.ticket;
        // The promise comes when the transaction before is visible.
        transaction.vote(reply).map_err(|failure| self.failed(failure))?;
        let voted = self.answers.wait(ticket);
        self.settle()?;
        match voted {
            Completion::Voted(Ok(Vote::Promised)) => {}
            Completion::Voted(Err(failure)) => return Err(self.failed(failure)),
            other => bail!("a copied transaction's vote was answered by {other:?}"),
        }
        let reply = self.answers.reply_to();
        self.finishing = Some(reply.ticket);
        transaction.finish(reply).map_err(|failure| self.failed(failure))?;
        self.last_tid = tid;
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        self.open = None;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.settle()
    }
}

/// What the storage answers to this thread.
struct Answers {
    mailbox: Arc<Mailbox>,
    events: VecDeque<Event>,
    asked: u64,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

impl Answers {
    fn new() -> Self {
        let mailbox = Mailbox::new(MAILBOX_BYTES, Arc::new(Unpark(thread::current())));
        Self { mailbox, events: VecDeque::new(), asked: 0 }
    }

    fn reply_to(&mut self) -> ReplyTo {
        self.asked += 1;
        ReplyTo { mailbox: Arc::clone(&self.mailbox), ticket: Ticket(self.asked) }
    }

    /// Waits for one answer; others stay where they are.
    fn wait(&mut self, wanted: Ticket) -> Completion {
        loop {
            self.mailbox.drain(&mut self.events).expect("nothing is published to it");
            let place = self.events.iter().position(
                |event| matches!(event, Event::Completed { ticket, .. } if *ticket == wanted),
            );
            match place.and_then(|place| self.events.remove(place)) {
                Some(Event::Completed { completion, .. }) => return completion,
                _ => thread::park(),
            }
        }
    }
}

const MAILBOX_BYTES: usize = 1 << 20;
