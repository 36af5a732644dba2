use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::disk::RealDisk;
use crate::index::Index;
use crate::mailbox::{Mailbox, ReplyTo, Ticket, Wake};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

fn store(dir: &Path) -> Arc<BlobStore> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Survey::look(&disk, dir).unwrap().settle(&Index::default()).unwrap()
}

fn commit(upload: &Upload, oid: Oid, tid: Tid) {
    upload.settle(oid).unwrap();
    upload.place(oid, tid).unwrap();
    upload.keep();
}

fn read(store: &BlobStore, oid: Oid, tid: Tid) -> Bytes {
    let file = store.open(oid, tid).unwrap();
    file.read(0, file.len() as usize).unwrap()
}

#[test]
fn a_copy_outlives_what_it_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (oid, old, linked, copied) = (Oid(7), Tid(1), Tid(2), Tid(3));
    let mailbox = Mailbox::new(1000, Arc::new(Nobody));
    let upload = store.upload();
    upload.write(Bytes::from("blob"), ReplyTo { mailbox, ticket: Ticket(0) });
    commit(&upload, oid, old);
    commit(&store.copy(oid, old), oid, linked);
    // As where there are no links.
    let upload = store.upload();
    upload.copy_from(&store.path(oid, old)).unwrap();
    commit(&upload, oid, copied);
    store.remove(oid, &[old]).unwrap();
    store.remove(oid, &[old]).unwrap();
    assert_eq!(store.open(oid, old).unwrap_err(), Failure::UnknownBlob { oid, serial: old });
    assert_eq!(read(&store, oid, linked), "blob");
    assert_eq!(read(&store, oid, copied), "blob");
    let failure = store.copy(oid, old).settle(oid).unwrap_err().to_string();
    assert!(failure.contains("0x01.blob"), "{failure}");
}
