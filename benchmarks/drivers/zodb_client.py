"""Loads a server as an application does: with ZODB over ZEO's own client, a process for each client.

Workloads, named by the setting `operation`; an operation is timed as the application waits for it:

load      Activates one of `objects` objects of `record_bytes`, in turns. The client's cache has
          `cache_bytes`, too little for any to be there when its turn comes; that is checked.
commit    A transaction that changes `objects` own objects of `record_bytes`.
conflict  A transaction that counts one on a counter that all clients change, so that they have to
          be merged: ZEO does that in the server, zeoxide leaves it to the client.

All that is read is checked; after the end another client reads what was committed last.
"""

import multiprocessing
import resource
import time

import BTrees.Length
import persistent.mapping
import transaction
import ZODB
import ZODB.POSException
from ZEO.ClientStorage import ClientStorage

import talk
from talk import Failed

LEAD_NS = 50_000_000  # to tell all clients when to begin
WAIT_SECONDS = 30  # for the server
CACHE_BYTES = 20 << 20  # ZEO's own default
OBJECTS_PER_TRANSACTION = 500  # when objects are made


def drive(job):
    kind = WORKLOADS.get(job["settings"]["operation"])
    if kind is None:
        raise Failed(f"no operation {job['settings']['operation']!r}; known are {', '.join(WORKLOADS)}")
    # No process that is forked may have threads, and an open storage has: so all of them are children.
    Child(prepare, job).result()
    clients = [Child(client, job, number) for number in range(job["connections"])]
    for child in clients:
        child.hear()
    begin = time.perf_counter_ns() + LEAD_NS
    counted = begin + int(job["warmup_seconds"] * 1e9)
    end = counted + int(job["seconds"] * 1e9)
    for child in clients:
        child.tell((begin, counted, end))
    wait_until(counted)
    talk.say(says="began")
    wait_until(end)
    talk.say(says="ended")
    results = [child.result() for child in clients]
    Child(verify, job, [result["wrote"] for result in results]).result()
    responses = [response for result in results for response in result["responses"]]
    return {
        "operations": len(responses),
        "seconds": job["seconds"],
        "responses_ns": responses,
        "client": {name: sum(result["used"][name] for result in results) for name in results[0]["used"]},
        "versions": talk.versions("ZEO", "ZODB", "persistent", "msgpack", "uvloop"),
    }


class Child:
    """A process that does one thing; what it raises is raised here."""

    def __init__(self, function, *arguments):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=self.run, args=(other, function, arguments), daemon=True)
        self.process.start()
        other.close()

    def run(self, pipe, function, arguments):
        self.pipe.close()
        try:
            pipe.send(("result", function(pipe, *arguments)))
        except Failed as failed:
            pipe.send(("failed", str(failed)))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}"))

    def tell(self, message):
        self.pipe.send(message)

    def hear(self):
        try:
            kind, message = self.pipe.recv()
        except EOFError:
            raise Failed("a client's process died") from None
        if kind == "failed":
            raise Failed(message)
        return message

    def result(self):
        result = self.hear()
        self.process.join()
        return result


def open_database(job):
    host, port = job["address"].rsplit(":", 1)
    cache_bytes = job["settings"].get("cache_bytes", CACHE_BYTES)
    return ZODB.DB(ClientStorage((host, int(port)), cache_size=cache_bytes, wait_timeout=WAIT_SECONDS))


def prepare(_pipe, job):
    """Writes what the clients will work with."""
    database = open_database(job)
    WORKLOADS[job["settings"]["operation"]].prepare(database, job)
    database.close()


def client(pipe, job, number):
    """One client, from its connection to its last operation."""
    database = open_database(job)
    manager = transaction.TransactionManager(explicit=True)
    workload = WORKLOADS[job["settings"]["operation"]](database.open(manager), manager, job, number)
    pipe.send(("ready", None))
    begin, counted, end = pipe.recv()
    responses = []
    wait_until(begin)
    while time.perf_counter_ns() < counted:
        workload.operate()
    before = talk.usage(resource.RUSAGE_SELF)
    while True:
        sent, done = workload.operate()
        if done > end:
            break
        responses.append((done - counted, done - sent))
    after = talk.usage(resource.RUSAGE_SELF)
    used = {name: after[name] - before[name] for name in after}
    used["peak_resident_bytes"] = after["peak_resident_bytes"]
    workload.check()
    return {"responses": responses, "used": used, "wrote": workload.wrote}


def verify(_pipe, job, wrote):
    database = open_database(job)
    with database.transaction() as connection:
        WORKLOADS[job["settings"]["operation"]].verify(connection.root(), job, wrote)
    database.close()


class Load:
    wrote = None

    @staticmethod
    def prepare(database, job):
        make_objects(database, "objects", job)

    def __init__(self, connection, manager, job, number):
        self.connection, self.manager, self.job = connection, manager, job
        manager.begin()
        # The objects themselves are ghosts until they are activated.
        objects = list(connection.root()["objects"].items())
        # Clients are spread over the round, so that they do not ask for the same at a time.
        start = len(objects) * number // job["connections"]
        self.round = objects[start:] + objects[:start]
        self.next = 0
        self.hits_before = self.hits()

    def hits(self):
        """What the client's cache has answered until now."""
        return self.connection.db().storage._cache.getStats()[4]

    def operate(self):
        if self.next == len(self.round):
            self.next = 0
            self.connection.cacheMinimize()
            self.manager.abort()
            self.manager.begin()
        number, record = self.round[self.next]
        self.next += 1
        sent = time.perf_counter_ns()
        record._p_activate()
        done = time.perf_counter_ns()
        check(record, number, 0, self.job)
        return sent, done

    def check(self):
        hits = self.hits() - self.hits_before
        if hits:
            raise Failed(f"the client's cache answered {hits} loads: cache_bytes is too much")

    @staticmethod
    def verify(root, job, wrote):
        """Nothing was written."""


class Commit:
    @staticmethod
    def prepare(database, job):
        for number in range(job["connections"]):
            make_objects(database, f"client-{number}", job)

    def __init__(self, connection, manager, job, number):
        self.manager, self.job = manager, job
        manager.begin()
        self.records = list(connection.root()[f"client-{number}"].items())
        for own, record in self.records:
            check(record, own, 0, job)
        manager.abort()
        self.wrote = 0

    def operate(self):
        revision = self.wrote + 1
        payloads = [payload(number, revision, self.job) for number, _ in self.records]
        sent = time.perf_counter_ns()
        self.manager.begin()
        for (_, record), data in zip(self.records, payloads):
            record["revision"], record["payload"] = revision, data
        self.manager.commit()
        done = time.perf_counter_ns()
        self.wrote = revision
        return sent, done

    def check(self):
        """What was committed is read by another client, in `verify`."""

    @staticmethod
    def verify(root, job, wrote):
        for number, revision in enumerate(wrote):
            for own, record in root[f"client-{number}"].items():
                check(record, own, revision, job)


class Conflict:
    @staticmethod
    def prepare(database, job):
        with database.transaction() as connection:
            connection.root()["counter"] = BTrees.Length.Length()

    def __init__(self, connection, manager, job, number):
        self.manager = manager
        manager.begin()
        self.counter = connection.root()["counter"]
        manager.abort()
        self.wrote = 0

    def operate(self):
        sent = time.perf_counter_ns()
        while True:
            self.manager.begin()
            try:
                self.counter.change(1)
                self.manager.commit()
                break
            except ZODB.POSException.ConflictError:
                self.manager.abort()
        self.wrote += 1
        return sent, time.perf_counter_ns()

    def check(self):
        """All counts together are looked at in `verify`."""

    @staticmethod
    def verify(root, job, wrote):
        found, expected = root["counter"](), sum(wrote)
        if found != expected:
            raise Failed(f"lost commits: the counter is {found} after {expected} commits that counted one")


WORKLOADS = {"load": Load, "commit": Commit, "conflict": Conflict}


def make_objects(database, name, job):
    """A mapping of this name with an object for each number; they are new, or as new."""
    count = job["settings"]["objects"]
    with database.transaction() as connection:
        connection.root()[name] = persistent.mapping.PersistentMapping()
    for first in range(0, count, OBJECTS_PER_TRANSACTION):
        with database.transaction() as connection:
            records = connection.root()[name]
            for number in range(first, min(first + OBJECTS_PER_TRANSACTION, count)):
                data = {"number": number, "revision": 0, "payload": payload(number, 0, job)}
                records[number] = persistent.mapping.PersistentMapping(data)


def payload(number, revision, job):
    """A function of object and revision, so that every other one is seen to be wrong."""
    size = job["settings"]["record_bytes"]
    text = b"%d %d " % (number, revision)
    return (text * (size // len(text) + 1))[:size]


def check(record, number, revision, job):
    found = (record["number"], record["revision"], record["payload"])
    if found != (number, revision, payload(number, revision, job)):
        raise Failed(f"object {number} is not as of revision {revision}, but {str(found)[:60]}")


def wait_until(when_ns):
    while (left := when_ns - time.perf_counter_ns()) > 0:
        time.sleep(left / 1e9)


if __name__ == "__main__":
    talk.main(drive)
