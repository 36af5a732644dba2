"""Compares `zeoxide` with ZODB on files that ZODB makes at random: `cargo xtask datafs`.

    python compare.py ZEOXIDE [SEED ...]
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile

import make
import transaction
from ZODB import DB
from ZODB.blob import Blob, FilesystemHelper
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import z64


def zeoxide(*arguments):
    done = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def compare(folder, path):
    """Whatever can be asked of a file, by both."""
    whole = read(path)
    copy = os.path.join(folder, "copy.fs")
    zeoxide("copy", path, copy)
    assert read(copy) == whole, "the copy differs"
    findings = json.loads(zeoxide("verify", "--json", path))
    assert findings["problems"] == [], findings
    listed = make.listing(path).splitlines()
    dumped = [json.loads(line) for line in zeoxide("dump", "--json", path).splitlines()]
    assert len(dumped) == len(listed)
    for ours, zodbs in zip(dumped, listed):
        kind, name, *rest = zodbs.split(" ")
        assert ours["kind"] == kind
        if kind == "transaction":
            assert ours["tid"] == name and ours["status"].encode().hex() == rest[0]
        else:
            data, origin = rest
            assert ours["oid"] == name and (ours["origin"] or "-") == origin, (ours, zodbs)
            assert ours["bytes"] == (None if data == "-" else len(data) // 2)
    # A copy that stopped anywhere.
    for part in range(1, 8):
        with open(copy, "wb") as file:
            file.write(whole[:len(whole) * part // 8])
        zeoxide("copy", "--resume", path, copy)
        assert read(copy) == whole, "the resumed copy differs"
    goes_on(copy)
    make.clean(copy)
    os.remove(copy)
    # Through a storage, and once more through a repository.
    places = [os.path.join(folder, name) for name in ("dir", "repository", "back")]
    told = zeoxide("import", path, places[0])
    zeoxide("backup", *places[:2])
    zeoxide("restore", *places[1:])
    zeoxide("export", places[2], copy)
    # Not the same only if the import has told so, which happens to copies of packed files.
    assert (read(copy) == whole) != ("export writes no pointer there" in told), told
    assert make.listing(copy) == make.listing(path)
    goes_on(copy)
    make.clean(copy)
    os.remove(copy)
    for place in places:
        shutil.rmtree(place)


def goes_on(copy):
    """FileStorage takes our file for its own, and we take what it then writes."""
    storage = FileStorage(copy)
    meta = TransactionMetaData(user="zodb")
    storage.tpc_begin(meta)
    storage.store(storage.new_oid(), z64, b"new", "", meta)
    storage.tpc_vote(meta)
    storage.tpc_finish(meta)
    storage.close()
    assert json.loads(zeoxide("verify", "--json", copy))["problems"] == []


def with_blobs(folder):
    """Blobs, of which one is empty and one is brought back by an undo, in both of ZODB's layouts."""
    for layout in ("bushy", "lawn"):
        path, blobs = [os.path.join(folder, layout + end) for end in (".fs", ".blobs")]
        FilesystemHelper(blobs, layout).create()
        database = DB(FileStorage(path, blob_dir=blobs))
        with database.transaction() as connection:
            connection.root()["blob"] = Blob(b"first")
            connection.root()["empty"] = Blob(b"")
        with database.transaction() as connection:
            with connection.root()["blob"].open("w") as file:
                file.write(b"second")
        database.undo(database.undoLog(0, 1)[0]["id"])
        transaction.commit()
        database.close()
        ours, new, new_blobs = [os.path.join(folder, layout + end) for end in ("", ".new", ".to")]
        zeoxide("import", path, ours, "--blobs-from", blobs, "--blobs", ours + ".own")
        zeoxide("export", ours, new, "--blobs", ours + ".own", "--blobs-to", new_blobs)
        assert read(new) == read(path), "the export differs"
        database = DB(FileStorage(new, blob_dir=new_blobs))
        with database.transaction() as connection:
            for name, wanted in (("blob", b"first"), ("empty", b"")):
                with connection.root()[name].open() as file:
                    assert file.read() == wanted, name
        database.close()
        print(f"blobs, {layout}: all the same")


def main():
    # What FileStorage complains about when it reads a file is an error here.
    complaints = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())
    logging.getLogger("ZODB.FileStorage").addHandler(handler)
    seeds = [int(seed) for seed in sys.argv[2:]] or range(6)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "Data.fs")
            packs = [(), (150,), (100, 250)][seed % 3]
            make.history(path, seed, 300, objects=40, longest=5000, packs=packs)
            compare(folder, path)
            other = os.path.join(folder, "restored.fs")
            source, target = FileStorage(path, read_only=True), FileStorage(other)
            target.copyTransactionsFrom(source)
            source.close()
            target.close()
            compare(folder, other)
        print(f"seed {seed}: {len(packs)} packs, all the same")
    with tempfile.TemporaryDirectory() as folder:
        with_blobs(folder)
    assert not complaints, complaints


if __name__ == "__main__":
    main()
