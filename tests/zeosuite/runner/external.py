"""The external server that takes the place of ZEO's own."""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

from . import ports
from .config import Config
from .config import Unmappable
from .state import ORIGINAL
from .state import STATE


# These reach into the python objects of a server in the same process
# (threaded=True): an external server is meaningless for them.
IN_PROCESS = (
    'ZEO.tests.test_sync.',
    'ZEO.tests.test_client_credentials.',
    'ZEO.tests.testZEO:dynamic_server_ports.test',
)

REAL_SLEEP = time.sleep     # a test may replace it


class Template:

    REQUIRED = ('read_only', 'blob_dir', 'invalidation_queue_size',
                'invalidation_age', 'transaction_timeout', 'ssl_cert',
                'ssl_password', 'load_delay_ms')

    def __init__(self, text):
        self.text = text
        self.names = set(re.findall(r'\{(\w+)\}', text)) | set(
            re.findall(r'\[!?(\w+)\?', text))

    def has(self, *names):
        return bool(self.names.intersection(names))

    def repeats(self):
        return '[*' in self.text

    def render(self, values, storages=()):
        whole = self.has('config', 'zconfig')
        for n in self.REQUIRED:
            if values.get(n) and n not in self.names and not whole:
                raise Unmappable('template has no {%s} (wanted %r)' % (
                    n, values[n]))
        if not whole and 'protocol' not in self.names:
            if values['protocol'] != STATE.protocol:
                raise Unmappable('template has no {protocol}')

        def each(m):
            return ' '.join(
                shlex.join(self.fill(m.group(1), dict(
                    values, storage_name=s['name'], path=s['path'],
                    blob_dir=s['blob_dir'])))
                for s in storages)

        return self.fill(re.sub(r'\[\*(.*?)\*\]', each, self.text), values)

    @staticmethod
    def fill(text, values):
        def opt(m):
            neg, name, text = m.groups()
            on = bool(values.get(name))
            return text if on != bool(neg) else ''

        text = re.sub(r'\[(!?)(\w+)\?\s*([^\]]*)\]', opt, text)
        return [re.sub(r'\{(\w+)\}', lambda m: str(values[m.group(1)]), tok)
                for tok in shlex.split(text)]


class Handshake(Exception):
    pass


def read_handshake(host, port, unix, use_ssl, timeout):
    """Connect, return the protocol the server announces (b'Z5' / b'M5')."""
    if unix:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(unix)
    else:
        s = socket.create_connection((host, port), timeout=timeout)
        s.settimeout(timeout)
    try:
        if use_ssl:
            from ZEO.tests import testssl
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            ctx.check_hostname = False
            ctx.verify_mode = ssl.CERT_NONE
            ctx.load_cert_chain(testssl.client_cert, testssl.client_key)
            s = ctx.wrap_socket(s)
        data = b''
        while len(data) < 6:
            d = s.recv(6 - len(data))
            if not d:
                raise Handshake('closed before handshake (%r)' % data)
            data += d
        n, = struct.unpack('>I', data[:4])
        if n != 2:
            raise Handshake('bad handshake %r' % data)
        return data[4:]
    finally:
        s.close()


def tail(path, n=6):
    try:
        with open(path, errors='replace') as f:
            return ' | '.join(
                line.strip() for line in f.read().splitlines()[-n:])
    except OSError:
        return ''


class ExternalServer:

    count = 0

    def __init__(self, config, zconfig_text, keep):
        ExternalServer.count += 1
        n = ExternalServer.count
        self.keep = keep
        cwd = self.cwd = os.getcwd()
        t = STATE.template
        host, port, unix = config.host, config.port, config.unix
        if not unix and not port:
            port = ports.free_port(STATE.ports)
        self.addr = unix or (host, port)
        self.host, self.port, self.unix = host, port, unix

        self.files = []
        for i, s in enumerate(config.storages):
            if s['kind'] == 'mappingstorage':
                s['path'] = 'mapping-%d-%d.db' % (n, i)
                if not t.has('kind', 'config', 'zconfig'):
                    s['kind'] = 'filestorage'
                self.files.append((s['path'], True))
            else:
                self.files.append((s['path'], not keep))
                if s['create']:
                    remove_storage(os.path.join(cwd, s['path']))
        if len(config.storages) > 1 and not t.repeats() and not t.has(
                'config', 'zconfig'):
            raise Unmappable('several storages, and template has no [*...*]')
        s = config.storages[0]
        v = dict(config.v)
        v.update(
            addr=unix or '%s:%s' % (host, port), host=host, port=port,
            unix=unix, kind=s['kind'], path=s['path'],
            blob_dir=s['blob_dir'], storage_name=s['name'],
            storage_read_only='true' if s['read_only'] else '',
            pack_gc=s['pack_gc'], load_delay_ms=s['load_delay_ms'],
            create='true' if s['create'] else '',
            python=sys.executable, harness=STATE.harness)
        base = os.path.join(STATE.workdir, 'server-%d' % n)
        v['config'] = base + '.json'
        v['zconfig'] = base + '.conf'
        v['ssl_password_file'] = base + '.password'
        cmd = t.render(v, config.storages)
        with open(v['ssl_password_file'], 'w') as f:
            f.write(v['ssl_password'])
        with open(v['config'], 'w') as f:
            json.dump(dict(v, storages=config.storages), f, indent=1)
        with open(v['zconfig'], 'w') as f:
            f.write(re.sub(r'(?m)^(\s*address).*$',
                           lambda m: '%s %s' % (m.group(1), v['addr']),
                           zconfig_text))
        self.out = base + '.out'
        if v['log'] and not t.has('log', 'config', 'zconfig'):
            self.out = os.path.join(cwd, v['log'])
        self.outf = open(self.out, 'ab')
        self.proc = subprocess.Popen(
            cmd, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=self.outf, stderr=self.outf)
        self.wait_ready(bool(v['ssl_cert']), v['protocol'])
        self.stopped = False

    def wait_ready(self, use_ssl, protocol):
        end = time.monotonic() + STATE.ready_timeout
        last = None
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise RuntimeError('server exited %s: %s' % (
                    self.proc.returncode, tail(self.out)))
            try:
                hs = read_handshake(self.host, self.port, self.unix,
                                    use_ssl, 5)
            except (OSError, Handshake) as e:
                last = e
                REAL_SLEEP(.02)
                continue
            want = b'M5' if protocol == 'msgpack' else b'Z5'
            if hs != want:
                STATE.problems.append('handshake %r, wanted %r' % (hs, want))
            return
        self.proc.kill()
        self.proc.wait()
        raise RuntimeError('server not ready in %ss: %s; %s' % (
            STATE.ready_timeout, last, tail(self.out)))

    def stop(self, stop_timeout=None):
        if self.stopped:
            return
        self.stopped = True
        rc = self.proc.poll()
        if rc is not None:
            STATE.problems.append('server died during the test, rc=%s: %s' % (
                rc, tail(self.out)))
        else:
            self.proc.send_signal(signal.SIGTERM)
            try:
                rc = self.proc.wait(STATE.stop_timeout)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                STATE.problems.append('server ignored SIGTERM for %ss' %
                                      STATE.stop_timeout)
            else:
                if rc not in (0, -signal.SIGTERM):
                    STATE.problems.append('server exit code %s: %s' % (
                        rc, tail(self.out)))
        self.outf.close()
        for path, remove in self.files:
            if remove:
                remove_storage(os.path.join(self.cwd, path))


def remove_storage(path):
    """What FileStorage.cleanup() does, for any file or directory layout."""
    for p in [path] + [path + e for e in (
            '.old', '.tmp', '.lock', '.index', '.pack', '-wal', '-shm',
            '.d')]:
        if os.path.isdir(p):
            shutil.rmtree(p, ignore_errors=True)
        elif os.path.lexists(p):
            os.remove(p)


def start_zeo_server(storage_conf=None, zeo_conf=None, port=None, keep=False,
                     path='Data.fs', protocol=None, blob_dir=None,
                     suicide=True, debug=False,
                     threaded=False, start_timeout=33, name=None, log=None,
                     show_config=False):
    """Replacement of ZEO._forker.start_zeo_server (same signature)."""
    try:
        if STATE.test_id.startswith(IN_PROCESS):
            STATE.python += 1
            return ORIGINAL['start'](
                storage_conf, zeo_conf, port, keep, path, protocol, blob_dir,
                suicide, debug, threaded, start_timeout, name, log,
                show_config)
        sconf = storage_conf
        if not sconf:
            sconf = '<filestorage>\npath %s\n</filestorage>' % path
        if blob_dir:
            sconf = ('<blobstorage>\nblob-dir %s\n%s\n</blobstorage>'
                     % (blob_dir, sconf))
        zconf = zeo_conf
        if zconf is None or isinstance(zconf, dict):
            p = 0 if port is None else port
            addr = ('127.0.0.1', p) if isinstance(p, int) else p
            z = ORIGINAL['forker'].ZEOConfig(addr, log=log)
            if zconf:
                z.__dict__.update(zconf)
            zconf = str(z)
        if protocol is not None:
            raise Unmappable('server must announce protocol %r' % protocol)
        config = Config(sconf, zconf, STATE.protocol)
        if config.has_client:
            STATE.python += 1
            return ORIGINAL['start'](
                storage_conf, zeo_conf, port, keep, path, protocol, blob_dir,
                suicide, debug, threaded, start_timeout, name, log,
                show_config)
        server = ExternalServer(config, str(zconf) + '\n\n' + sconf, keep)
    except Unmappable as e:
        STATE.unmappable = str(e)
        raise
    except RuntimeError as e:
        STATE.problems.append('START: %s' % e)
        raise
    STATE.external += 1
    STATE.servers.append(server)
    return server.addr, server.stop
