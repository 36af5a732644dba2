"""What a test asks of a server: the ZConfig text it passes, parsed."""
import importlib
import re
import unittest


class Unmappable(unittest.SkipTest):
    pass


class Section(dict):
    def __init__(self, type_, name):
        self.type = type_
        self.name = name
        self.sections = []


def parse_zconfig(text):
    """Parse the subset of ZConfig that the tests use."""
    root = Section('', '')
    stack = [root]
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith('#') or line.startswith('%'):
            continue
        m = re.match(r'<(/?)\s*([\w.-]+)\s*([^/>]*?)\s*(/?)>$', line)
        if m:
            closing, type_, name, empty = m.groups()
            if closing:
                stack.pop()
                continue
            s = Section(type_.lower(), name.strip())
            stack[-1].sections.append(s)
            if not empty:
                stack.append(s)
        else:
            k, _, v = line.partition(' ')
            stack[-1][k.lower()] = v.strip()
    return root


def boolean(v):
    return str(v).lower() in ('yes', 'true', 'on', '1')


def map_storage(s):
    """Section -> dict(name, kind, path, blob_dir, ...)."""
    if s.type == 'filestorage':
        return dict(name=s.name or '1', kind='filestorage', path=s['path'],
                    blob_dir=s.get('blob-dir', ''),
                    create=boolean(s.get('create', False)),
                    read_only=boolean(s.get('read-only', False)),
                    pack_gc='' if boolean(s.get('pack-gc', True))
                    else 'false',
                    load_delay_ms='', wrappers=[])
    if s.type == 'mappingstorage':
        return dict(name=s.name or '1', kind='mappingstorage', path='',
                    blob_dir='', create=True, read_only=False, pack_gc='',
                    load_delay_ms='', wrappers=[])
    if s.type in ('blobstorage', 'loaddelayed_storage', 'serverhexstorage'):
        [inner] = s.sections
        r = map_storage(inner)
        r['name'] = s.name or ('1' if s.type != 'blobstorage'
                               else inner.name or '1')
        r['wrappers'].append(s.type)
        if s.type == 'blobstorage':
            r['blob_dir'] = s['blob-dir']
        elif s.type == 'loaddelayed_storage':
            r['load_delay_ms'] = '10'
        # serverhexstorage: the client stores hex; an opaque server
        # needs to do nothing.
        return r
    raise Unmappable('storage <%s> cannot be mapped' % s.type)


def split_addr(a):
    if '/' in a:
        return '', '', a
    host, _, port = a.rpartition(':')
    return host.strip() or '127.0.0.1', int(port.strip() or 0), ''


class Config:
    """What one server start asks for."""

    def __init__(self, storage_conf, zeo_conf, protocol_default):
        root = parse_zconfig(str(zeo_conf) + '\n\n' + storage_conf)
        [zeo] = [s for s in root.sections if s.type == 'zeo']
        stor = [s for s in root.sections if s.type not in ('zeo', 'eventlog')]
        self.has_client = any(s.type in ('zeoclient', 'clientstorage')
                              for s in stor)
        self.storages = [] if self.has_client else [
            map_storage(s) for s in stor]
        self.host, self.port, self.unix = split_addr(zeo['address'])
        mp = zeo.get('msgpack')
        self.protocol = (protocol_default if mp is None
                         else 'msgpack' if boolean(mp) else 'pickle')
        ssl_ = [s for s in zeo.sections if s.type == 'ssl']
        ssl_ = ssl_[0] if ssl_ else {}
        password = ''
        if ssl_.get('password-function'):
            mod, name = ssl_['password-function'].rsplit('.', 1)
            password = getattr(importlib.import_module(mod), name)()
        log = ''
        for s in root.sections:
            if s.type == 'eventlog':
                log = s.sections[0].get('path', '')
        self.v = dict(
            read_only='true' if boolean(zeo.get('read-only', 'false')) or
            any(s['read_only'] for s in self.storages) else '',
            invalidation_queue_size=zeo.get('invalidation-queue-size', ''),
            invalidation_age=zeo.get('invalidation-age', ''),
            transaction_timeout=zeo.get('transaction-timeout', ''),
            client_conflict_resolution='true' if boolean(
                zeo.get('client-conflict-resolution', 'false')) else '',
            ssl_cert=ssl_.get('certificate', ''),
            ssl_key=ssl_.get('key', ''),
            ssl_auth=ssl_.get('authenticate', ''),
            ssl_password=password,
            protocol=self.protocol,
            log=log,
            pid_file=zeo.get('pid-filename', ''),
        )
