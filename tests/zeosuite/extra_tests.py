"""Tests that ZEO's suite lacks, for a server that leaves conflicts to clients.

Collected together with ZEO's own (as extra_tests.*).  Stock ZEO 6.2 with
client-conflict-resolution fails the first three.
"""
import doctest
import os
import re
import threading
import time
import unittest

import transaction
import ZODB.blob
from BTrees.Length import Length
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError
from ZODB.tests.MinPO import MinPO
from ZODB.tests.StorageTestBase import zodb_pickle
from ZODB.utils import maxtid
from ZODB.utils import z64
from zope.testing import setupstack

import ZEO
from wire import WireWorker
from ZEO.tests import forker


README = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      '..', '..', 'README.md')


class ExtraTests(setupstack.TestCase):

    def setUp(self):
        self.setUpDirectory()
        self.stops = []

    def tearDown(self):
        transaction.abort()
        for stop in self.stops:
            stop()
        super().tearDown()

    def server(self, blobs=False, **kw):
        conf = '<filestorage>\npath Data.fs\n'
        if blobs:
            conf += 'blob-dir server-blobs\n'
        conf += '</filestorage>\n'
        addr, stop = forker.start_zeo_server(
            conf, dict(client_conflict_resolution=True), **kw)
        self.stops.append(stop)
        return addr

    def problem(self, text):
        forker.start_zeo_server.state.problems.append(text)

    def kill_server(self):
        server = forker.start_zeo_server.state.servers[-1]
        server.proc.kill()
        server.proc.wait()
        server.stopped = True

    def wait_for_waiting(self, client, n):
        forker.wait_until(
            f'{n} votes wait', lambda: client.server_status()['waiting'] == n)

    def test_readme(self):
        # The Python session that the README shows.
        host, port = self.server()
        with open(README) as f:
            [session] = re.findall(r'```python\n(.*?)```', f.read(), re.S)
        self.assertIn('8100', session)
        test = doctest.DocTestParser().get_doctest(
            session.replace('8100', str(port)), {}, 'README', README, 0)
        self.assertGreater(len(test.examples), 5)
        out = []
        doctest.DocTestRunner().run(test, out=out.append)
        self.assertEqual(''.join(out), '')

    def test_blob_kept_over_client_resolution(self):
        # A transaction that stores a blob and has a conflict that the client
        # resolves votes twice.  The blob is sent only once, before the first
        # vote; stock ZEO has thrown it away by then and commits the object
        # without blob data.
        addr = self.server(blobs=True)
        db = ZEO.DB(addr, blob_dir='c1')
        with db.transaction() as c:
            c.root.len = Length(0)
        c2 = db.open(transaction.TransactionManager())
        c2.root.len.change(1)
        c2.root.blob = ZODB.blob.Blob(b'precious')
        with db.transaction() as c:
            c.root.len.change(1)
        c2.transaction_manager.commit()
        self.assertEqual(c2.root.len.value, 2)
        db.close()
        db = ZEO.DB(addr, blob_dir='c2')
        c = db.open()
        with c.root.blob.open() as f:
            self.assertEqual(f.read(), b'precious')
        db.close()

    def test_conflict_storm(self):
        # With many conflicts a client may lose, but must never be
        # disconnected or see anything but ConflictError.
        addr = self.server()
        with ZEO.DB(addr).transaction() as c:
            c.root.len = Length(0)
        bad = []
        counts = []

        def run():
            db = ZEO.DB(addr)
            conn = db.open(transaction.TransactionManager())
            n = 0
            for i in range(60):
                try:
                    conn.transaction_manager.begin()
                    conn.root.len.change(1)
                    conn.transaction_manager.commit()
                    n += 1
                except ConflictError:
                    conn.transaction_manager.abort()
                except BaseException as e:
                    bad.append(repr(e))
                    conn.transaction_manager.abort()
                    break
            counts.append(n)
            conn.close()
            db.close()
        threads = [threading.Thread(target=run) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(100)
        self.assertEqual(bad, [])
        db = ZEO.DB(addr)
        c = db.open()
        self.assertEqual(c.root.len.value, sum(counts))
        c.close()
        db.close()

    def test_client_that_gives_up(self):
        # ZEO's client stops after 9 conflicting votes, without an error, and
        # calls tpc_finish.  The server must not answer the 9th conflict
        # with a list of conflicts.
        addr = self.server()
        client = ZEO.client(addr)
        other = ZEO.client(addr)
        oid = client.new_oid()

        def store(storage, serial):
            t = TransactionMetaData()
            storage.tpc_begin(t)
            storage.store(oid, serial, zodb_pickle(MinPO(1)), '', t)
            storage.tpc_vote(t)
            return storage.tpc_finish(t)
        t0 = store(other, z64)
        tid = store(other, t0)
        t = TransactionMetaData()
        client.tpc_begin(t)
        client.store(oid, t0, zodb_pickle(MinPO(2)), '', t)
        # A client that never gets it right:
        client.tryToResolveConflict = \
            lambda oid, committed, read, data: data
        client._async_orig = client._async
        client._async = lambda m, *a: client._async_orig(
            m, *((a[0], t0) + a[2:] if m == 'storea' else a))
        with self.assertRaises(ConflictError):
            client.tpc_vote(t)
        client._async = client._async_orig
        client.tpc_abort(t)
        self.assertTrue(client.is_connected())
        data, serial = client.load(oid)
        self.assertEqual(serial, tid)
        store(client, tid)      # and the lock is free
        client.close()
        other.close()

    def test_loads_while_vote_waits(self):
        # A vote that waits for the commit lock must not hold up other
        # requests on the same connection.
        addr = self.server()
        a = ZEO.client(addr)
        b = ZEO.client(addr)
        oid = a.new_oid()
        t = TransactionMetaData()
        a.tpc_begin(t)
        a.store(oid, z64, zodb_pickle(MinPO(1)), '', t)
        a.tpc_vote(t)
        a.tpc_finish(t)
        t1 = TransactionMetaData()
        a.tpc_begin(t1)
        a.tpc_vote(t1)
        t2 = TransactionMetaData()
        b.tpc_begin(t2)
        vote = b._server.call('vote', id(t2), wait=False)
        self.wait_for_waiting(a, 1)
        load = b._server.call('loadBefore', oid, maxtid, wait=False)
        self.assertEqual(load.result(5)[2], None)
        self.assertFalse(vote.done())
        a.tpc_finish(t1)
        vote.result(5)
        b.tpc_abort(t2)
        a.close()
        b.close()

    def test_waiting_vote_aborted(self):
        # tpc_abort while the vote waits: the vote is taken off the queue.
        addr = self.server()
        a = ZEO.client(addr)
        b = ZEO.client(addr)
        t1 = TransactionMetaData()
        a.tpc_begin(t1)
        a.tpc_vote(t1)
        t2 = TransactionMetaData()
        b.tpc_begin(t2)
        b._server.call('vote', id(t2), wait=False)
        self.wait_for_waiting(a, 1)
        b.tpc_abort(t2)
        self.assertEqual(a.server_status()['waiting'], 0)
        a.tpc_finish(t1)
        t3 = TransactionMetaData()
        a.tpc_begin(t3)
        a.tpc_vote(t3)
        a.tpc_finish(t3)
        a.close()
        b.close()

    def test_finished_is_there_after_kill(self):
        addr = self.server(blobs=True, keep=True)
        db = ZEO.DB(addr, blob_dir='c1')
        with db.transaction() as c:
            c.root.x = 1
            c.root.b = ZODB.blob.Blob(b'blob')
        self.kill_server()
        db.close()
        addr = self.server(blobs=True)
        db = ZEO.DB(addr, blob_dir='c2')
        c = db.open()
        self.assertEqual(c.root.x, 1)
        with c.root.b.open() as f:
            self.assertEqual(f.read(), b'blob')
        c.close()
        db.close()

    def test_voted_is_gone_after_kill(self):
        addr = self.server(keep=True)
        db = ZEO.DB(addr)
        with db.transaction() as c:
            c.root.x = PersistentMapping()
        last = db.storage.lastTransaction()
        db.close()
        client = ZEO.client(addr)
        oid = client.new_oid()
        t = TransactionMetaData()
        client.tpc_begin(t)
        client.store(oid, z64, zodb_pickle(MinPO(1)), '', t)
        client.tpc_vote(t)
        self.kill_server()
        client.close()
        addr = self.server()
        client = ZEO.client(addr)
        # (FileStorage reports the tid of the unfinished transaction as last
        # one; equal would be nicer.)
        self.assertGreaterEqual(client.lastTransaction(), last)
        self.assertRaises(KeyError, client.load, oid)
        client.close()
        db = ZEO.DB(addr)
        with db.transaction() as c:
            c.root.x['y'] = 1
        db.close()

    def test_sync_sees_committed(self):
        # server_sync (= ping): after the ping's reply, every transaction
        # finished before the ping has been seen.
        addr = self.server()
        a = ZEO.DB(addr)
        b = ZEO.DB(addr, server_sync=True)
        with a.transaction() as c:
            c.root.x = 0
        tm = transaction.TransactionManager()
        cb = b.open(tm)
        for i in range(1, 100):
            with a.transaction() as c:
                c.root.x = i
            tm.begin()
            self.assertEqual(cb.root.x, i)
        cb.close()
        a.close()
        b.close()

    def test_order_on_the_wire(self):
        # Raw connections.  On each: tids (of invalidations and of the own
        # finish replies) strictly increase and none is missing; a load never
        # gives as current what was invalidated before it on this connection.
        addr = self.server()
        workers = [WireWorker(addr, i) for i in range(6)]
        for w in workers:
            w.start()
        for w in workers:
            w.join(60)
        for w in workers:
            w.ping()
        for w in workers:
            w.drain()
        self.assertEqual([w.error for w in workers if w.error], [])
        every = sorted(t for w in workers for t in w.mine)
        self.assertEqual(len(every), len(set(every)))
        for w in workers:
            self.assertTrue(w.seq == sorted(set(w.seq)), 'tids out of order')
            missing = sorted(set(every) - set(w.seq))
            self.assertEqual(
                ['%d of %d: %s%s' % (every.index(t), len(every), t.hex(),
                                     ' own' if t in w.mine else '')
                 for t in missing], [], 'tids missing')
            if w.late:
                # With uvloop, stock ZEO is caught by this now and then.
                self.problem(f'{w.late} invalidations after the ping reply')
            self.assertEqual(w.stale, [], 'stale load after invalidation')

    def test_tids_increase_over_restart(self):
        # ... even if the clock does not.
        addr = self.server(keep=True)
        client = ZEO.client(addr)
        oid = client.new_oid()
        t = TransactionMetaData()
        # a transaction copied from elsewhere, with a tid in the future:
        from persistent.TimeStamp import TimeStamp
        now = time.gmtime(time.time() + 3600)
        future = TimeStamp(*now[:5] + (0.0,)).raw()
        client.tpc_begin(t, future, ' ')
        client.restore(oid, future, zodb_pickle(MinPO(1)), '', None, t)
        client.tpc_vote(t)
        self.assertEqual(client.tpc_finish(t), future)
        client.close()
        self.stops.pop()()
        addr = self.server()
        client = ZEO.client(addr)
        self.assertEqual(client.lastTransaction(), future)
        t = TransactionMetaData()
        client.tpc_begin(t)
        client.store(oid, future, zodb_pickle(MinPO(2)), '', t)
        client.tpc_vote(t)
        self.assertGreater(client.tpc_finish(t), future)
        client.close()


def test_suite():
    return unittest.defaultTestLoader.loadTestsFromTestCase(ExtraTests)
