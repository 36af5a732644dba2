"""A process that moves money until it is told to stop, whatever happens to the server."""

import random
import time
import traceback

import transaction
import ZODB
from transaction.interfaces import TransientError
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import POSError

import model

NUMBERS = 1_000_000  # of transfers, for each teller
PATIENCE_SECONDS = 60  # a server that comes back takes a fraction


def work(address, teller, names, until, blob_dir, shared, results):
    """Moves money until `until` is set; puts what it knows into `results`."""
    try:
        results.put(serve(address, teller, names, until, blob_dir, shared))
    except Exception:
        results.put({"failed": f"teller {teller}: {traceback.format_exc()}"})


def serve(address, teller, names, until, blob_dir, shared):
    transfers = Transfers(teller, names)
    storage = ClientStorage(
        address, wait_timeout=PATIENCE_SECONDS, blob_dir=blob_dir, shared_blob_dir=shared,
        client_label=f"teller {teller}",
    )
    db = ZODB.DB(storage)
    try:
        while not until.is_set():
            transfers.try_one(db)
    finally:
        db.close()
    return transfers.outcome()


class Transfers:

    def __init__(self, teller, names):
        self.random = random.Random(teller)
        self.names = names
        self.number = teller * NUMBERS
        self.acknowledged = []
        self.counts = {"committed": 0, "in conflict": 0, "cut off": 0}

    def outcome(self):
        return {"acknowledged": self.acknowledged, "counts": self.counts}

    def try_one(self, db):
        """One attempt. A number is used once: a commit in doubt may have been done."""
        self.number += 1
        source, target = self.random.sample(self.names, 2)
        amount = self.random.randint(1, 50)
        text = None
        if self.random.random() < 0.2:
            text = model.receipt_text(self.number, source, target, amount)
        connection = None
        try:
            connection = db.open()
            bank = connection.root()["bank"]
            model.move(bank, self.number, source, target, amount, text)
            if self.random.random() < 0.1:
                # A reader's promise: the account was not changed by anybody meanwhile.
                bystander = bank["accounts"][self.random.choice(self.names)]
                if bystander.balance >= 0:
                    connection.readCurrent(bystander)
            transaction.commit()
        except ClientDisconnected:
            self.counts["cut off"] += 1
            transaction.abort()
            wait_for_server(db.storage)
        except (TransientError, POSError):
            self.counts["in conflict"] += 1
            transaction.abort()
        else:
            self.counts["committed"] += 1
            self.acknowledged.append(self.number)
        finally:
            if connection is not None:
                connection.close()


def wait_for_server(storage):
    patience = time.monotonic() + PATIENCE_SECONDS
    while not storage.is_connected():
        if time.monotonic() > patience:
            raise TimeoutError(f"no server for {PATIENCE_SECONDS} s")
        time.sleep(0.01)
