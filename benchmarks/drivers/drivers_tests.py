"""Tests of the drivers without a server; `cargo xtask python-client` runs them, and the drivers with one.

Needs the packages of the driver `zodb-client`.
"""

import contextlib
import io
import json
import pathlib
import unittest
import unittest.mock

import shootout
import talk
import zodb_client
from talk import Failed

GOLDEN = pathlib.Path(__file__).parent / "golden"


def golden(name):
    """What pyperf wrote about a benchmark of zodbshootout, without facts of its host."""
    return json.loads((GOLDEN / f"pyperf-{name}.json").read_text())


def order(operation, **settings):
    return {"address": "127.0.0.1:1", "connections": 2,
            "settings": {"operation": operation, "objects": 200, "values": 3, **settings}}


class Zodbshootout(unittest.TestCase):
    def test_means_are_those_of_an_object(self):
        found = shootout.measured(golden("update"), order("update"))
        # 3 values of 10 transactions of 200 objects, in 2 processes.
        self.assertEqual(found["operations"], 3 * 10 * 200 * 2)
        self.assertEqual([round(mean) for mean in found["means_ns"]], [574_129, 214_894, 235_295])
        self.assertAlmostEqual(found["seconds"], 10 * (0.114825778 + 0.042978725 + 0.047058981), places=6)

    def test_what_failed_is_no_value(self):
        with self.assertRaisesRegex(Failed, "cannot do this: .*conflicting objects .disabled"):
            shootout.measured(golden("conflicts"), order("conflicts"))

    def test_an_operation_is_a_transaction_where_objects_play_no_part(self):
        settings = order("tpc")["settings"]
        of = lambda operation: shootout.operations_per_transaction({**settings, "operation": operation})
        self.assertEqual([of("tpc"), of("ex_commit"), of("conflicts"), of("cold")], [1, 1, 100, 200])

    def test_its_command_line(self):
        line = " ".join(shootout.arguments(order("add"), "out.json"))
        for part in ("--values 3", "--object-counts 200", "--concurrency 2", "--output out.json"):
            self.assertIn(part, line)


class Client(unittest.TestCase):
    JOB = order("commit", record_bytes=100)

    def record(self, number, revision):
        payload = zodb_client.payload(number, revision, self.JOB)
        return {"number": number, "revision": revision, "payload": payload}

    def test_payloads_are_of_their_size_and_all_different(self):
        payloads = {zodb_client.payload(number, revision, self.JOB)
                    for number in range(20) for revision in range(20)}
        self.assertEqual({len(payload) for payload in payloads}, {100})
        self.assertEqual(len(payloads), 400)

    def test_wrong_bytes_are_seen(self):
        zodb_client.check(self.record(7, 3), 7, 3, self.JOB)
        for wrong in (self.record(7, 2), self.record(8, 3), {**self.record(7, 3), "payload": b"x"}):
            with self.assertRaisesRegex(Failed, "object 7"):
                zodb_client.check(wrong, 7, 3, self.JOB)

    def test_a_lost_commit_is_seen(self):
        root = {"client-0": {0: self.record(0, 5)}, "client-1": {0: self.record(0, 4)}}
        zodb_client.Commit.verify(root, self.JOB, [5, 4])
        with self.assertRaisesRegex(Failed, "object 0 is not as of revision 5"):
            zodb_client.Commit.verify(root, self.JOB, [5, 5])

    def test_a_lost_count_is_seen(self):
        zodb_client.Conflict.verify({"counter": lambda: 9}, self.JOB, [5, 4])
        with self.assertRaisesRegex(Failed, "8 after 9"):
            zodb_client.Conflict.verify({"counter": lambda: 8}, self.JOB, [5, 4])

    def test_loads_from_the_clients_cache_are_seen(self):
        load = zodb_client.Load.__new__(zodb_client.Load)
        load.hits_before, load.hits = 5, lambda: 5
        load.check()
        load.hits = lambda: 6
        with self.assertRaisesRegex(Failed, "answered 1 loads"):
            load.check()

    def test_what_a_child_raises_is_raised_here(self):
        def fail(_pipe, number):
            raise Failed(f"number {number}")
        with self.assertRaisesRegex(Failed, "^number 7$"):
            zodb_client.Child(fail, 7).result()


class Talk(unittest.TestCase):
    def said(self, drive):
        printed, errors = io.StringIO(), io.StringIO()
        stdin = io.StringIO(json.dumps(order("load")) + "\n")
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            with unittest.mock.patch("sys.stdin", stdin):
                talk.main(drive)
        return json.loads(printed.getvalue())

    def test_the_end_is_said_whatever_it_is(self):
        def lost(job):
            raise Failed("lost commits")

        def broken(job):
            return job["nothing"]

        self.assertEqual(self.said(lambda job: {"operations": 3}), {"says": "done", "operations": 3})
        self.assertEqual(self.said(lost), {"says": "failed", "why": "lost commits"})
        self.assertEqual(self.said(broken), {"says": "failed", "why": "KeyError: 'nothing'"})

    def test_unknown_operations_are_refused(self):
        with self.assertRaisesRegex(Failed, "known are load, commit, conflict"):
            zodb_client.drive(order("dance"))


if __name__ == "__main__":
    unittest.main()
