"""Makes the files of this folder with ZODB: run it with a Python that has ZODB 6.4.

    python make.py [FOLDER]

Beside each `NAME.fs` there is `NAME.txt`, what ZODB's own iterator finds in it. The tids are given,
so that the files come out the same each time. `compare.py` has `history` make larger ones.
"""

import os
import random
import sys
from base64 import decodebytes, encodebytes

from persistent.timestamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError, UndoError
from ZODB.utils import p64, u64, z64

ROOT = b"root"


class Opaque(FileStorage):
    """Records here are no pickles, so there is nothing to resolve."""

    def tryToResolveConflict(self, *_arguments):
        raise ConflictError


class Maker:
    """A FileStorage under random changes. All is reachable from the root, so that pack only drops
    revisions."""

    def __init__(self, path, seed):
        self.storage = Opaque(path, create=True)
        self.random = random.Random(seed)
        self.minute = 0
        self.serials = {z64: z64}
        self.commit(lambda t: self.store(t, z64, ROOT), user="maker", description="the root")

    def tid(self):
        self.minute += 1
        return TimeStamp(2026, 11, 1 + self.minute // 1440, self.minute // 60 % 24,
                         self.minute % 60, self.minute % 7).raw()

    def commit(self, change, status=" ", **metadata):
        transaction = TransactionMetaData(**metadata)
        tid = self.tid()
        self.storage.tpc_begin(transaction, tid, status)
        try:
            oids = change(transaction)
            self.storage.tpc_vote(transaction)
        except (UndoError, POSKeyError):
            self.storage.tpc_abort(transaction)
            return
        self.storage.tpc_finish(transaction)
        for oid in oids:
            self.serials[oid] = tid

    def store(self, transaction, oid, data):
        self.storage.store(oid, self.serials.get(oid, z64), data, "", transaction)
        return [oid]

    def undo(self, tid):
        def change(transaction):
            return self.storage.undo(encodebytes(tid).rstrip(), transaction)[1]
        self.commit(change, description="undo")

    def delete(self, oid):
        def change(transaction):
            self.storage.deleteObject(oid, self.serials[oid], transaction)
            return [oid]
        self.commit(change, user="collector")

    def pack(self, minute):
        time = TimeStamp(2026, 11, 1 + minute // 1440, minute // 60 % 24, minute % 60, 30)
        # A reference to what does not exist ends a pack.
        exist = set()
        for transaction in self.storage.iterator(None, time.raw()):
            for record in transaction:
                (exist.discard if record.data is None else exist.add)(record.oid)
        self.storage.pack(time.timeTime(), lambda data: list(exist) if data == ROOT else [])

    def step(self, objects, longest):
        """One random change."""
        kind = self.random.random()
        if kind < 0.6:
            def change(transaction):
                oids = [p64(self.random.randint(1, objects))
                        for _ in range(self.random.randint(1, 4))]
                for oid in dict.fromkeys(oids):
                    length = self.random.randint(1, longest)
                    self.store(transaction, oid, self.random.randbytes(length))
                return oids
            self.commit(change, user=f"user {self.random.randint(1, 3)}", extension=self.extension())
        elif kind < 0.95:
            log = self.storage.undoLog(0, 12, lambda one: one["description"] != b"the root")
            if log:
                self.undo(decodebytes(self.random.choice(log)["id"] + b"\n"))
        else:
            oid = p64(self.random.randint(1, objects))
            if u64(self.serials.get(oid, z64)):
                self.delete(oid)

    def extension(self):
        if self.random.random() < 0.5:
            return {}
        # Not literals, of which there would be one only, with a reference to it.
        name = "".join(self.random.choices("abc", k=5))
        return {"user_name": name, "number": self.random.randint(-5, 1 << 40),
                "request": {"ok": True, "parts": (1, 2.5, None, name.encode())}}

    def close(self):
        self.storage.close()


def history(path, seed, steps, objects=8, longest=20, packs=()):
    maker = Maker(path, seed)
    for step in range(steps):
        maker.step(objects, longest)
        if step in packs:
            maker.pack(maker.minute - steps // 8)
    maker.close()


def undos(path):
    """Each kind of pointer, one by one."""
    maker = Maker(path, 0)
    oid, other = p64(1), p64(2)
    maker.commit(lambda t: maker.store(t, oid, b"first"), description="création")
    created = maker.serials[oid]
    maker.commit(lambda t: maker.store(t, oid, b"second"), extension={"a": 1})
    maker.undo(maker.serials[oid])
    maker.undo(maker.serials[oid])
    maker.undo(maker.serials[oid])
    maker.commit(lambda t: maker.store(t, other, b"x"))
    maker.undo(maker.serials[other])
    maker.commit(lambda t: [])
    maker.commit(lambda t: maker.store(t, other, b"y") + maker.store(t, oid, b"z"))
    maker.delete(oid)
    assert created != maker.serials[oid]
    maker.close()


def python2(path):
    """As Python 2 has left them: its magic, and its strings in extensions."""
    maker = Maker(path, 0)
    pickle = b"}q\x01(U\x04nameq\x02U\x03bobq\x03U\x05againq\x04h\x03U\x02okq\x05I01\nu."
    maker.commit(lambda t: maker.store(t, p64(1), b"one"), extension=pickle)
    maker.close()
    with open(path, "r+b") as file:
        file.write(b"FS21")


def listing(path):
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"FS21":
        # ZODB on Python 3 asks for its own magic.
        with open(path, "r+b") as file:
            file.write(b"FS30")
    lines = []
    storage = FileStorage(path, read_only=True)
    for transaction in storage.iterator():
        lines.append(" ".join([
            "transaction", transaction.tid.hex(), transaction.status.encode().hex(),
            *(text.hex() or "-" for text in (
                transaction.user, transaction.description, transaction.extension_bytes))]))
        for record in transaction:
            lines.append(" ".join([
                "record", record.oid.hex(), "-" if record.data is None else record.data.hex(),
                record.data_txn.hex() if record.data_txn else "-"]))
    storage.close()
    with open(path, "r+b") as file:
        file.write(magic)
    return "".join(line + "\n" for line in lines)


def clean(path):
    for ending in (".index", ".lock", ".tmp", ".old"):
        if os.path.exists(path + ending):
            os.remove(path + ending)


def main(folder):
    files = {
        "undos": undos,
        "python2": python2,
        "random": lambda path: history(path, 4, 40),
        "packed": lambda path: history(path, 7, 48, packs=(20, 40)),
    }
    for name, make in files.items():
        path = os.path.join(folder, name + ".fs")
        make(path)
        clean(path)
        with open(os.path.join(folder, name + ".txt"), "w") as file:
            file.write(listing(path))
        clean(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
