#!/usr/bin/env python
"""Reference server for run.py: real ZEO, as an external command.

Runs ZEO 6.2's own StorageServer over FileStorage / MappingStorage in a
separate process, driven only by command line flags -- the same flags one
would give to a drop-in replacement.

Behaviour switches (none = stock ZEO):

  --client-conflict-resolution   never resolve conflicts in the server
  --no-gc                        pack drops old revisions only, no gc
                                 (the server parses no pickles for pack)
  --opaque                       no conflict resolution at any layer, a hard
                                 failure if references of a record are asked
                                 for, and a pack that does not need them (see
                                 patch_pack: FileStorage(pack_gc=False) has
                                 bugs that an own implementation should not
                                 copy)
  --ccr-fix                      with client conflict resolution: keep the
                                 commit lock for the client that is resolving,
                                 and answer its 9th conflicting vote with a
                                 ConflictError (ZEO 6.2's client gives up after
                                 9 votes WITHOUT an error and calls tpc_finish);
                                 keep the transaction's blobs for the next vote
  --blob-wrapper                 use the ZODB.blob.BlobStorage wrapper (what
                                 <blobstorage> in zeo.conf gives) instead of
                                 FileStorage(blob_dir=...)
"""
import argparse
import json
import logging
import os
import signal
import ssl
import sys
import threading


def parse(argv):
    p = argparse.ArgumentParser()
    p.add_argument('--addr', required=True,
                   help='host:port, or a unix socket path (contains "/")')
    p.add_argument('--kind', default='filestorage',
                   choices=['filestorage', 'mappingstorage'])
    p.add_argument('--path', default='Data.fs')
    p.add_argument('--blob-dir')
    p.add_argument('--storage-name', default='1')
    p.add_argument('--config', help='json file written by run.py ({config});'
                   ' gives the storages when there are several')
    p.add_argument('--read-only', action='store_true')
    p.add_argument('--storage-read-only', action='store_true')
    p.add_argument('--protocol', default='pickle',
                   choices=['pickle', 'msgpack'])
    p.add_argument('--invalidation-queue-size', type=int, default=100)
    p.add_argument('--invalidation-age', type=float)
    p.add_argument('--transaction-timeout', type=int)
    p.add_argument('--ssl-cert')
    p.add_argument('--ssl-key')
    p.add_argument('--ssl-auth')
    p.add_argument('--ssl-password')
    p.add_argument('--client-conflict-resolution', action='store_true')
    p.add_argument('--no-gc', action='store_true')
    p.add_argument('--opaque', action='store_true')
    p.add_argument('--ccr-fix', action='store_true')
    p.add_argument('--blob-wrapper', action='store_true')
    p.add_argument('--load-delay-ms', type=float, default=0)
    p.add_argument('--log')
    p.add_argument('--log-level', default='INFO')
    p.add_argument('--event-loop', choices=['auto', 'asyncio'],
                   default='auto')
    return p.parse_args(argv)


def open_storage(o, kind, path, blob_dir, read_only):
    import ZODB.blob
    import ZODB.FileStorage
    import ZODB.MappingStorage
    nogc = o.no_gc or o.opaque
    if kind == 'mappingstorage':
        storage = ZODB.MappingStorage.MappingStorage()
        if nogc:
            orig = storage.pack
            storage.pack = lambda t, refs, gc=True: orig(t, refs, gc=False)
        if blob_dir:
            storage = ZODB.blob.BlobStorage(blob_dir, storage)
    else:
        if blob_dir and not o.blob_wrapper:
            storage = ZODB.FileStorage.FileStorage(
                path, read_only=read_only, blob_dir=blob_dir,
                pack_gc=not nogc)
        else:
            storage = ZODB.FileStorage.FileStorage(
                path, read_only=read_only, pack_gc=not nogc)
            if blob_dir:
                storage = ZODB.blob.BlobStorage(blob_dir, storage)
    if o.opaque:
        import ZEO.StorageServer
        storage.tryToResolveConflict = \
            ZEO.StorageServer.never_resolve_conflict
    if o.load_delay_ms:
        from ZEO.tests.racetest import LoadDelayedStorage
        storage = LoadDelayedStorage(storage, o.load_delay_ms / 1000.0)
    return storage


def patch_pack():
    """Pack without gc, done right (no pickle is parsed).

    - ZODB 6.4's FileStorage(pack_gc=False) drops data that records after the
      pack time point back to (undo records) and then fails, or worse; with gc
      it keeps them.  Keep them here, too.
    - It leaves everything alone if no record could be removed; with gc it
      marks the transactions up to the pack time as packed, so that they are
      gone from undoLog.  Do that here, too.
    """
    from ZODB.FileStorage import fspack

    def findReachable(self):
        self.buildPackIndex()
        self.reachable = self.oid2curpos
        self.referencesf = lambda p: []
        self.findReachableFromFuture()

    class Never(int):
        __hash__ = int.__hash__

        def __eq__(self, other):
            return False

    orig = fspack.FileStoragePacker.copyToPacktime

    def copyToPacktime(self):
        ipos, opos = orig(self)
        return ipos, Never(opos)

    fspack.GC.findReachable = findReachable
    fspack.FileStoragePacker.copyToPacktime = copyToPacktime


def fixed_server_class():
    import ZEO.StorageServer
    from ZODB.POSException import ConflictError
    from ZODB.POSException import StorageTransactionError
    Base = ZEO.StorageServer.ZEOStorage

    class FixedZEOStorage(Base):

        votes = 0
        held = False     # lock kept while the client resolves

        def tpc_begin(self, *a):
            r = Base.tpc_begin(self, *a)
            if self.votes and not self.locked:
                self.votes = 0
            return r

        def _clear_transaction(self):
            self.held = False
            self.votes = 0
            Base._clear_transaction(self)

        def vote(self, tid):
            if not self.held:
                return Base.vote(self, tid)
            self._check_tid(tid, exc=StorageTransactionError)
            self.held = self.locked = False
            try:
                result = self._vote()
            except Exception:
                self.lock_manager.release(self)
                raise
            if not self.locked:
                self.lock_manager.release(self)
            return result

        def _vote(self, delay=None):
            # Stock ZEO loses the blobs of a transaction that votes again
            # after the client resolved a conflict.  Keep links to them.
            blobs = []
            for oid, serial, data, name in self.blob_log:
                keep = name + '.keep'
                os.link(name, keep)
                blobs.append((oid, serial, data, keep))
            try:
                result = Base._vote(self, delay)
            except Exception:
                for b in blobs:
                    os.remove(b[3])
                raise
            if self.transaction is not None and self.conflicts and \
               not self.locked:
                self.blob_log = blobs
            else:
                for b in blobs:
                    os.remove(b[3])
            if self.transaction is not None and self.conflicts and \
               not self.locked:
                self.votes += 1
                if self.votes >= 9:
                    c = list(self.conflicts.values())[0]
                    self._clear_transaction()
                    raise ConflictError(oid=c['oid'], serials=c['serials'])
                self.held = self.locked = True
            return result

        def tpc_finish(self, id):
            if self.held and self.transaction is not None and \
               self.transaction.id == id:
                raise StorageTransactionError('not voted')
            return Base.tpc_finish(self, id)

    class FixedServer(ZEO.StorageServer.StorageServer):

        def create_client_handler(self):
            return FixedZEOStorage(self, self.read_only)

    return FixedServer


def main(argv=None):
    o = parse(argv)
    if o.event_loop == 'asyncio':
        sys.modules['uvloop'] = None     # ImportError -> ModuleNotFoundError
        import ZEO.asyncio.compat  # noqa: F401
    kw = {}
    if o.log:
        kw['filename'] = o.log
    logging.basicConfig(
        level=getattr(logging, o.log_level),
        format='------\n%(asctime)s %(levelname)s %(name)s %(message)s',
        datefmt='%Y-%m-%dT%H:%M:%S', **kw)

    import ZEO.StorageServer
    if o.opaque:
        def no_refs(*a, **k):
            raise AssertionError('opaque server asked to parse a pickle')
        ZEO.StorageServer.referencesf = no_refs
        patch_pack()

    ctx = None
    if o.ssl_cert:
        ctx = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH,
            cafile=o.ssl_auth if o.ssl_auth and os.path.isfile(o.ssl_auth)
            else None,
            capath=o.ssl_auth if o.ssl_auth and os.path.isdir(o.ssl_auth)
            else None)
        ctx.load_cert_chain(o.ssl_cert, o.ssl_key or None,
                            (lambda: o.ssl_password) if o.ssl_password
                            else None)
        ctx.verify_mode = ssl.CERT_REQUIRED
        ctx.verify_flags |= ssl.VERIFY_X509_STRICT   # as ZEO.zconfig does
        ctx.check_hostname = False

    if '/' in o.addr:
        addr = o.addr
        if os.path.exists(addr):
            os.remove(addr)
    else:
        host, port = o.addr.rsplit(':', 1)
        addr = host, int(port)

    storages = {}
    specs = None
    if o.config:
        with open(o.config) as f:
            specs = json.load(f)['storages']
    if specs and len(specs) > 1:
        for s in specs:
            storages[s['name']] = open_storage(
                o, s['kind'], s['path'], s['blob_dir'], s['read_only'])
    else:
        storages[o.storage_name] = open_storage(
            o, o.kind, o.path, o.blob_dir, o.storage_read_only)

    factory = (fixed_server_class() if o.ccr_fix
               else ZEO.StorageServer.StorageServer)
    server = factory(
        addr, storages,
        read_only=o.read_only,
        invalidation_queue_size=o.invalidation_queue_size,
        invalidation_age=o.invalidation_age,
        transaction_timeout=o.transaction_timeout,
        ssl=ctx,
        client_conflict_resolution=(o.client_conflict_resolution or o.opaque),
        msgpack=(o.protocol == 'msgpack'))

    thread = threading.Thread(target=server.loop, daemon=True)
    thread.start()

    done = threading.Event()
    for sig in signal.SIGTERM, signal.SIGINT:
        signal.signal(sig, lambda *a: done.set())
    while not done.wait(3600):
        pass
    server.close()
    thread.join(3)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if not thread.is_alive() else 3)


if __name__ == '__main__':
    main()
