"""A client that talks raw Z5/M5, without any of ZEO's client code."""
import io
import socket
import struct
import threading

import msgpack
from ZODB.utils import maxtid
from ZODB.utils import p64
from ZODB.utils import u64
from ZODB.utils import z64
from zodbpickle.pickle import Pickler
from zodbpickle.pickle import Unpickler


class Conn:
    """Messages over one connection, in the encoding that the server announces."""

    def __init__(self, addr):
        self.socket = socket.create_connection(addr)
        self.received = b''
        self.encoding = self.read(3)[:1]
        self.write(self.encoding + b'5')

    def write(self, message):
        self.socket.sendall(struct.pack('>I', len(message)) + message)

    def read(self, timeout):
        """The next message; None after the timeout, 'EOF' at the end."""
        self.socket.settimeout(timeout)
        while True:
            if len(self.received) >= 4:
                size, = struct.unpack('>I', self.received[:4])
                if len(self.received) >= 4 + size:
                    message = self.received[4:4 + size]
                    self.received = self.received[4 + size:]
                    return message
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                return None
            except ConnectionError:
                return 'EOF'
            if not data:
                return 'EOF'
            self.received += data

    def encode(self, *message):
        if self.encoding == b'M':
            return msgpack.packb(message, use_bin_type=True)
        f = io.BytesIO()
        pickler = Pickler(f, 3)
        pickler.fast = 1
        pickler.dump(message)
        return f.getvalue()

    def decode(self, message):
        if self.encoding == b'M':
            return msgpack.unpackb(
                message, raw=False, use_list=False, strict_map_key=False)
        return Unpickler(io.BytesIO(message)).load()

    def close(self):
        self.socket.close()


class WireWorker(threading.Thread):
    """Commits and loads, and notes what it is told in which order.

    seq    tids of invalidations and of its own finish replies, as they came
    mine   tids of its own transactions
    stale  loads given as current after an invalidation had outdated them
    late   invalidations that came after the reply to the last ping
    error  what went wrong
    """

    def __init__(self, addr, n):
        super().__init__(daemon=True)
        self.oid = p64(1000 + n)
        self.oids = [p64(1000 + i) for i in range(6)]
        self.mine = []
        self.known = {}
        self.stale = []
        self.late = 0
        self.error = None
        self.loads = {}
        self.loaded = 0
        self.message_id = 0
        self.conn = Conn(addr)
        self.seq = []
        self.call('register', '1', False)
        self.seq.append(self.result)

    def send(self, flag, name, *args):
        self.message_id += 1
        i = 0 if flag else self.message_id
        self.conn.write(self.conn.encode(i, flag, name, args))
        return i

    def handle(self, message):
        msgid, flag, name, args = self.conn.decode(message)
        if name == 'invalidateTransaction':
            tid, oids = args
            self.seq.append(tid)
            for o in oids:
                self.known[o] = tid
        elif name == '.reply':
            if msgid in self.loads:
                self.handle_loaded(self.loads.pop(msgid), flag, args)
            elif msgid == self.waiting:
                self.waiting = None
                self.result = args
                if flag:
                    raise AssertionError(args)
                if self.finishing:
                    self.seq.append(args)

    def handle_loaded(self, oid, flag, loaded):
        if flag or not loaded:
            return
        data, serial, end = loaded
        if end is None and serial < self.known.get(oid, z64):
            self.stale.append((oid, serial, self.known[oid]))

    def load(self):
        for oid in self.oids:
            self.loaded += 1
            # ZEO's client, too, uses the arguments of a load as message id.
            msgid = oid, p64(u64(maxtid) - self.loaded)
            self.conn.write(
                self.conn.encode(msgid, False, 'loadBefore', msgid))
            self.loads[msgid] = oid

    def call(self, name, *args):
        self.waiting = self.send(False, name, *args)
        self.finishing = name == 'tpc_finish'
        while self.waiting is not None:
            message = self.conn.read(20)
            if not isinstance(message, bytes):
                raise AssertionError(f'{name}: no answer ({message!r})')
            self.handle(message)
        return self.result

    def run(self):
        try:
            serial = z64
            for i in range(80):
                self.load()
                self.send(True, 'tpc_begin', i, b'', b'', {}, None, ' ')
                empty = i % 10 == 9
                if not empty:
                    self.send(True, 'storea', self.oid, serial, b'%d' % i, i)
                self.call('vote', i)
                self.load()
                tid = self.call('tpc_finish', i)
                self.mine.append(tid)
                if not empty:
                    serial = self.known[self.oid] = tid
        except BaseException as e:
            self.error = repr(e)

    def ping(self):
        try:
            self.call('ping')
        except BaseException as e:
            self.error = self.error or repr(e)

    def drain(self):
        before = len(self.seq)
        try:
            while isinstance(message := self.conn.read(.2), bytes):
                self.handle(message)
        except BaseException as e:
            self.error = self.error or repr(e)
        self.late = len(self.seq) - before
        self.conn.close()
