# -*- coding: utf-8 -*-
"""Records what a secondary of zc.zrs 3.1.0 and its primary send to each other. See README.md.

    python record.py PREFIX FOLDER

For each session there are three files: `NAME.secondary` and `NAME.primary` are what either side sent,
`NAME.txt` is what ZODB's own iterator finds in the primary's storage. It runs on Python 2.7 and 3; the
tids are given, so that the bytes come out the same each time.
"""

from __future__ import print_function

import hashlib
import logging
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from binascii import hexlify
from collections import OrderedDict

import msgpack
import zc.zrs.primary
import zc.zrs.reactor
import zc.zrs.secondary
import ZODB.BaseStorage
from persistent.TimeStamp import TimeStamp
from ZODB.blob import Blob, is_blob_record
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.serialize import ObjectWriter
from ZODB.utils import p64, z64

try:
    from base64 import encodebytes
except ImportError:
    from base64 import encodestring as encodebytes

if str is bytes:
    # Extensions as ZODB 3 and 4 have pickled them. A primary on Python 2 fails on those of ZODB 5.
    ZODB.BaseStorage._protocol = 1

BLOCK_BYTES = 1 << 16
ALL_BYTES = bytes(bytearray(range(256)))
STATUSES = {" ": "complete", "p": "packed"}
# Its bytes are not ASCII, and stand for text in pickles of protocol 1.
FAR_OID = p64(0x4081FF00E9C30A0D)


class Maker(object):
    """A FileStorage whose tids are one minute apart."""

    # What ZODB 3 and 4 have written on Python 2, and ZODB 5 everywhere.
    blob_record = b"cZODB.blob\nBlob\nq\x01.N." if str is bytes else ObjectWriter().serialize(Blob())

    def __init__(self, path, **options):
        self.storage = FileStorage(path, create=True, pack_gc=False, **options)
        self.minute = 0
        self.serials = {}
        self.work = os.path.dirname(path)

    def commit(self, change, user=u"", description=u"", extension=None):
        transaction = TransactionMetaData(user, description, extension or {})
        self.minute += 1
        tid = TimeStamp(2019, 11, 30, 22, self.minute, 9.7 * self.minute % 60).raw()
        self.storage.tpc_begin(transaction, tid, " ")
        oids = change(transaction)
        self.storage.tpc_vote(transaction)
        self.storage.tpc_finish(transaction)
        for oid in oids:
            self.serials[oid] = tid
        return tid

    def store(self, *records, **metadata):
        def change(transaction):
            for oid, data in records:
                self.storage.store(oid, self.serials.get(oid, z64), data, "", transaction)
            return [oid for oid, _ in records]
        return self.commit(change, **metadata)

    def blobs(self, *blobs, **metadata):
        def change(transaction):
            for oid, content in blobs:
                path = os.path.join(self.work, "new-blob")
                with open(path, "wb") as file:
                    file.write(content)
                self.storage.storeBlob(oid, self.serials.get(oid, z64), self.blob_record, path, "",
                                       transaction)
            return [oid for oid, _ in blobs]
        return self.commit(change, **metadata)

    def undo(self, tid):
        def change(transaction):
            return self.storage.undo(encodebytes(tid).rstrip(), transaction)[1]
        return self.commit(change, description=u"undo")

    def delete(self, oid):
        def change(transaction):
            self.storage.deleteObject(oid, self.serials[oid], transaction)
            return [oid]
        return self.commit(change, user=u"collector")

    def pack(self, tid):
        self.storage.pack(TimeStamp(tid).timeTime() + 30, lambda data: [])


def plain(path):
    """All that is there without blobs; its second half begins after the tid that is returned."""
    maker = Maker(path)
    maker.store((z64, b"the root"), user=u"maker", description=u"the root")
    first = maker.store((p64(1), b"one"), (p64(2), b"two"), (FAR_OID, ALL_BYTES),
                        user=u"Jörg Öztürk", description=u"création 日本 \n'\"\\")
    maker.pack(maker.store((p64(1), b"more"), (p64(2), b"more")))
    again = u"".join([u"ag", u"ain"])
    second = maker.store((p64(1), b"second"), extension={
        u"user_name": again, u"reference": again, u"number": -5, u"large": 1 << 40,
        u"larger": -(1 << 63), u"request": {
            u"ok": True, u"not": False, u"parts": (1, 2.5, None, b"\x80\xffbytes", b"", (), []),
            u"list": [300, 70000, u"\xe9", u"\u65e5", {}]}})
    maker.undo(second)
    created = maker.store((p64(3), b"created"), extension={"native": "string", "bytes": b"\xe9"})
    undone = maker.undo(created)
    middle = maker.undo(undone)
    maker.undo(middle)
    maker.undo(maker.undo(maker.store((p64(2), b"x"), description=u"long " * 100)))
    maker.commit(lambda transaction: [])
    maker.delete(p64(2))
    maker.store((p64(4), ALL_BYTES * 9), (p64(5), b"."))
    maker.store((p64(2), b"two again"), (z64, b"the new root"))
    assert first != middle
    return maker, middle


def with_blobs(path, sizes):
    maker = Maker(path, blob_dir=path + ".blobs")
    maker.store((z64, b"the root"))
    created = maker.blobs((p64(1), b"small"), (FAR_OID, b""), user=u"Zoë")
    changed = maker.blobs((p64(1), b"changed"), (p64(2), b"two"))
    maker.undo(changed)
    maker.blobs(*((p64(10 + index), (ALL_BYTES * (size // 256 + 1))[:size])
                  for index, size in enumerate(sizes)))
    middle = maker.store((p64(3), b"no blob"))
    lost = maker.blobs((p64(4), b"will be missing"), (p64(5), b"will not"))
    os.remove(maker.storage.loadBlob(p64(4), lost))
    usual, maker.blob_record = maker.blob_record, ObjectWriter().serialize(Blob())
    maker.blobs((p64(8), b"a record of today"))
    maker.blob_record = usual
    maker.undo(maker.blobs((p64(6), b"only for a moment")))
    maker.blobs((p64(1), b""), (p64(7), b"the last one"))
    assert created != middle
    return maker, middle


def portable(value):
    """As MessagePack has it: Python 2's strings are text if they can be."""
    if isinstance(value, dict):
        return OrderedDict((portable(key), portable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if str is bytes and isinstance(value, str):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    return value


def hex_or_dash(value):
    return hexlify(value).decode() if value else "-"


def blob_of(storage, record):
    """The blob that a primary sends; `missing` if it leaves it out, which it does without a file, and
    on Python 2 for a record that is pickled as ZODB 5 does it."""
    if not record.data or not is_blob_record(record.data):
        return "-"
    if not zc.zrs.primary.is_blob_record(record.data):
        return "missing"
    try:
        with open(storage.loadBlob(record.oid, record.tid), "rb") as file:
            content = file.read()
    except (IOError, POSKeyError):
        return "missing"
    return "%d:%s" % (len(content), hashlib.md5(content).hexdigest())


def listing(storage, start=None):
    """A line for each transaction after `start`, and for each record."""
    lines = []
    for transaction in storage.iterator(start):
        if transaction.tid == start:
            continue
        extension = portable(transaction.extension)
        lines.append(" ".join([
            "transaction", hex_or_dash(transaction.tid), STATUSES[transaction.status],
            hex_or_dash(transaction.user), hex_or_dash(transaction.description),
            hex_or_dash(extension and msgpack.packb(extension, use_bin_type=True))]))
        for record in transaction:
            lines.append(" ".join([
                "record", hex_or_dash(record.oid), hex_or_dash(record.data),
                hex_or_dash(record.data_txn), blob_of(storage, record)]))
    return "".join(line + "\n" for line in lines)


class Relay(object):
    """One connection to the primary, through which all bytes are kept."""

    def __init__(self, to):
        self.to = to
        self.secondary, self.primary = [], []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1)
        self.address = self.listener.getsockname()
        self.ended = threading.Event()
        thread = threading.Thread(target=self.run)
        thread.daemon = True
        thread.start()

    def run(self):
        down, _ = self.listener.accept()
        up = socket.create_connection(self.to)
        thread = threading.Thread(target=self.copy, args=(down, up, self.secondary))
        thread.daemon = True
        thread.start()
        self.copy(up, down, self.primary)
        thread.join()
        self.ended.set()

    @staticmethod
    def copy(source, to, kept):
        try:
            for data in iter(lambda: source.recv(1 << 16), b""):
                kept.append(data)
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except socket.error:
            pass


def wait(condition):
    deadline = time.time() + 60
    while not condition():
        if time.time() > deadline:
            raise SystemExit("waited for a minute in vain")
        time.sleep(0.01)


def free_address():
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    address = probe.getsockname()
    probe.close()
    return address


class Until(object):
    """The transactions of a storage up to one of them."""

    def __init__(self, storage, tid):
        self.iterator = lambda: storage.iterator(None, tid)
        self.loadBlob = storage.loadBlob


def connects(address):
    try:
        socket.create_connection(address).close()
        return True
    except socket.error:
        return False


def serve(storage):
    address = free_address()
    primary = zc.zrs.primary.Primary(storage, address)
    wait(lambda: connects(address))
    return primary, address


def session(folder, name, maker, primary, start=None, live=None):
    """Lets a secondary follow until it has all, and writes what both have sent. `live` commits through
    the primary meanwhile, and returns what to expect of it."""
    storage, (server, address) = maker.storage, primary
    relay = Relay(address)
    path = os.path.join(tempfile.mkdtemp(dir=maker.work), "secondary.fs")
    blobs = {"blob_dir": path + ".blobs"} if storage.blob_dir else {}
    copy = FileStorage(path, create=True, **blobs)
    if start:
        copy.copyTransactionsFrom(Until(storage, start))
    secondary = zc.zrs.secondary.Secondary(copy, relay.address)
    wait(lambda: copy.lastTransaction() == storage.lastTransaction())
    expected = listing(storage, start)
    if live:
        expected += live(server)
        wait(lambda: copy.lastTransaction() == storage.lastTransaction())
    else:
        has = listing(copy, start)
        for wanted, found in zip(expected.splitlines(), has.splitlines()):
            if wanted != found:
                print("%s: the primary has\n    %s\nbut zc.zrs's secondary\n    %s"
                      % (name, wanted, found))
    secondary.close()
    wait(relay.ended.is_set)
    for ending, content in [("secondary", b"".join(relay.secondary)),
                            ("primary", b"".join(relay.primary)), ("txt", expected.encode())]:
        with open(os.path.join(folder, name + "." + ending), "wb") as file:
            file.write(content)
        print("%s.%s: %d bytes" % (name, ending, len(content)))


def packed_meanwhile(maker):
    def live(server):
        # A primary sees what is committed through it.
        maker.storage = server
        before = server.lastTransaction()
        maker.pack(before)
        maker.store((p64(6), b"after the pack"), description=u"after the pack")
        return listing(server, before)
    return live


def answer(address, *messages, **options):
    """What a primary sends in answer: until it ends the connection, or so many bytes."""
    connection = socket.create_connection(address)
    for message in messages:
        connection.sendall(b"\0\0\0" + bytes(bytearray([len(message)])) + message)
    received = b""
    while len(received) < options.get("bytes", 1):
        data = connection.recv(1 << 16)
        if not data:
            return received
        received += data
    connection.close()
    return received


def check_answers(folder, prefix, plain_maker, blob_maker, plain_primary, blob_primary):
    """What docs and code say of primaries, besides what the sessions show."""
    last = plain_maker.storage.lastTransaction()
    high = p64(0x7FFF0000 << 32)
    plain_address, blob_address = plain_primary[1], blob_primary[1]
    # No other answer than the end: an unknown protocol, a tid that it does not have yet.
    assert answer(plain_address, b"zrs2.2", last) == b""
    assert answer(blob_address, b"zrs2.0", last) == b""
    assert answer(plain_address, b"zrs2.1", high) == b""
    # A tid between those that it has: it goes on with the next one, and checks nothing.
    with open(os.path.join(folder, prefix + "-plain-middle.secondary"), "rb") as file:
        middle = file.read()[-8:]
    with open(os.path.join(folder, prefix + "-plain-middle.primary"), "rb") as file:
        whole = file.read()
    between = middle[:-1] + bytes(bytearray([bytearray(middle)[-1] + 1]))
    assert answer(plain_address, b"zrs2.1", between, bytes=40)[:40] == whole[:40]
    # A primary without blobs takes either protocol; empty messages keep a link alive.
    assert answer(plain_address, b"zrs2.1", middle, b"", b"", bytes=len(whole))[:len(whole)] == whole
    # Without a blob directory it sends the transaction's head, then ends at the blob's record.
    maker = Maker(os.path.join(plain_maker.work, "lone.fs"))
    maker.store((p64(1), b"cZODB.blob\nBlob\nq\x01.N."))
    lone_primary, address = serve(maker.storage)
    sent = answer(address, b"zrs2.1", z64, bytes=1000)
    assert sent[4:] == sent[4:][:struct.unpack(">I", sent[:4])[0]] and sent[-1:] == b".", sent
    lone_primary.close()
    print("answers are as documented")


def main(prefix, folder):
    logging.basicConfig(level=logging.WARNING)
    work = tempfile.mkdtemp()
    sizes = [BLOCK_BYTES, BLOCK_BYTES + 1] if prefix == "python3" else [BLOCK_BYTES + 1]
    plain_maker, plain_middle = plain(os.path.join(work, "plain.fs"))
    blob_maker, blob_middle = with_blobs(os.path.join(work, "blobs.fs"), sizes)
    plain_primary, blob_primary = serve(plain_maker.storage), serve(blob_maker.storage)
    session(folder, prefix + "-blobs", blob_maker, blob_primary)
    session(folder, prefix + "-blobs-middle", blob_maker, blob_primary, blob_middle)
    session(folder, prefix + "-plain-middle", plain_maker, plain_primary, plain_middle)
    check_answers(folder, prefix, plain_maker, blob_maker, plain_primary, blob_primary)
    session(folder, prefix + "-plain", plain_maker, plain_primary,
            live=packed_meanwhile(plain_maker))
    plain_primary[0].close()
    blob_primary[0].close()
    shutil.rmtree(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
