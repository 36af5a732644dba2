"""A small bank on ZODB and BTrees: tellers move money while the server is killed, packed and restarted.

At the end the books must balance: no money made or lost, the index and the receipts (blobs) as
written, and every transfer there that was committed.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time

import transaction
import ZODB
from ZEO.ClientStorage import ClientStorage

import model
import teller
from server import Server

END_SECONDS = 90  # for a teller that was told to stop


def main(arguments=None):
    options = parse(arguments)
    folder = tempfile.mkdtemp(prefix="bank-")
    server = None
    try:
        server = Server(options.server, folder)
        report = run(options, server, folder)
        server.stop()
    except BaseException:
        if server is not None:
            server.kill()
            print(server.tail(), file=sys.stderr)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("the books balance: " + ", ".join(f"{count} {what}" for what, count in report.items()))
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--server", required=True, help="command line with {port}, {data} and {blobs}")
    parser.add_argument("--tellers", type=int, default=4, help="processes that move money (default: 4)")
    parser.add_argument("--accounts", type=int, default=40, help="default: 40")
    parser.add_argument("--kills", type=int, default=5, help="how often the server is killed (default: 5)")
    parser.add_argument("--between", type=float, default=2.0, help="seconds between kills (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is killed")
    return parser.parse_args(arguments)


def run(options, server, folder):
    child(open_bank, server.address, server.blobs, options.accounts)
    names = [f"account-{number:04}" for number in range(options.accounts)]
    until = multiprocessing.Event()
    results = multiprocessing.Queue()
    tellers = []
    for number in range(options.tellers):
        # Half of them see the server's blobs, half fetch their own copies.
        shared = number % 2 == 0
        blobs = server.blobs if shared else os.path.join(folder, f"cache-{number}")
        job = (server.address, number, names, until, blobs, shared, results)
        tellers.append(multiprocessing.Process(target=teller.work, args=job))
    for process in tellers:
        process.start()
    try:
        disturb(options, server)
    finally:
        until.set()
    outcomes = [results.get(timeout=END_SECONDS) for _ in tellers]
    for outcome in outcomes:
        model.must("failed" not in outcome, outcome.get("failed"))
    for process in tellers:
        process.join(END_SECONDS)
    acknowledged = [number for outcome in outcomes for number in outcome["acknowledged"]]
    # A teller that never got through would leave the books in order, too.
    model.must(all(outcome["acknowledged"] for outcome in outcomes), "a teller committed nothing")
    counts = {what: sum(outcome["counts"][what] for outcome in outcomes) for what in outcomes[0]["counts"]}
    # Once as it is, once after a restart, each with a cache that is empty.
    child(check, server.address, os.path.join(folder, "auditor-1"), acknowledged)
    server.stop()
    server.start()
    found = child(check, server.address, os.path.join(folder, "auditor-2"), acknowledged)
    return counts | found


def disturb(options, server):
    """Kills the server now and then; packs it in between."""
    moments = random.Random(options.seed)
    for kill in range(options.kills):
        time.sleep(options.between * moments.uniform(0.5, 1.5))
        if kill % 2:
            child(pack, server.address)
        server.kill()
        server.start()
    time.sleep(options.between)


def child(job, *arguments):
    """Runs a job in a process of its own: no process that is forked may have ZEO's thread."""
    with multiprocessing.Pool(1) as pool:
        return pool.apply(job, arguments)


def open_bank(address, blobs, accounts):
    storage = ClientStorage(address, wait_timeout=teller.PATIENCE_SECONDS, blob_dir=blobs, shared_blob_dir=True)
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        model.make_bank(connection.root(), accounts)
    db.close()


def pack(address):
    storage = ClientStorage(address, wait_timeout=teller.PATIENCE_SECONDS, read_only=True)
    storage.pack(time.time(), wait=True)
    storage.close()


def check(address, blobs, acknowledged):
    storage = ClientStorage(address, wait_timeout=teller.PATIENCE_SECONDS, blob_dir=blobs)
    db = ZODB.DB(storage)
    connection = db.open()
    try:
        return model.audit(connection.root()["bank"], acknowledged)
    finally:
        transaction.abort()
        connection.close()
        db.close()


if __name__ == "__main__":
    sys.exit(main())
