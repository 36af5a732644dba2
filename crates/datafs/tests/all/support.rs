//! What the tests of this crate share.

use std::path::Path;

use datafs::{ReadError, Reader, Record, Transaction, Writer};

/// All that a reader still has to say.
pub(crate) fn rest(reader: &mut Reader) -> Result<Vec<(Transaction, Vec<Record>)>, ReadError> {
    let mut all = Vec::new();
    while let Some(at) = reader.next_transaction()? {
        let mut records = Vec::new();
        while let Some(at) = reader.next_record()? {
            records.push(at.record);
        }
        all.push((at.transaction, records));
    }
    Ok(all)
}

/// Appends transactions.
pub(crate) fn write<'a>(
    writer: &mut Writer,
    transactions: impl IntoIterator<Item = &'a (Transaction, Vec<Record>)>,
) {
    for (transaction, records) in transactions {
        writer.begin(transaction).unwrap();
        records.iter().for_each(|record| writer.record(record).unwrap());
        writer.finish().unwrap();
    }
    writer.sync().unwrap();
}

/// The bytes of a file that is written from what another one says.
pub(crate) fn rewritten(from: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("Data.fs");
    let mut reader = Reader::open(from).unwrap();
    let mut writer = Writer::create(&to, reader.magic()).unwrap();
    write(&mut writer, &rest(&mut reader).unwrap());
    std::fs::read(&to).unwrap()
}
