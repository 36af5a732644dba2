#!/usr/bin/env python
"""Run ZEO's own test suite, and extra_tests, against an EXTERNAL server.

    python run.py --server 'CMD {addr} ...' --list lists/core.txt [options]

ZEO._forker.start_zeo_server (and every copy of it that the test modules
imported) is replaced; each server that a test asks for is started as the
external command instead.  The ZConfig text that tests pass is parsed and
mapped to placeholders of the command template:

  {addr}       host:port, or the path of a unix socket
  {host} {port} {unix}
  {kind}       filestorage | mappingstorage
  {path}       data file (relative to the server's cwd = the test's cwd).  For
               a mapping storage, a fresh path (for servers without in-memory
               storage: leave {kind} out of the template)
  {blob_dir}   server side blob directory ('' if none)
  {storage_name}  '1' mostly
  {read_only}  true/'' -- server or storage is read-only (the file may not
               exist yet when only the server is: serve an empty database)
  {storage_read_only}  true/'' -- only the storage level flag
  {protocol}   msgpack | pickle -- which handshake to announce (M5 / Z5)
  {invalidation_queue_size} {invalidation_age} {transaction_timeout}
  {client_conflict_resolution}   true/'' -- what the test asked for
  {ssl_cert} {ssl_key} {ssl_auth} {ssl_password} {ssl_password_file}
  {log}        log file the test reads ('' if none).  Without this
               placeholder the server's stdout+stderr go to that file
  {load_delay_ms}  10 in FileStorageLoadDelayedTests, else ''
  {pack_gc}    false if the storage was configured with `pack-gc false`
  {create}     true/'' (informative: the runner itself removes old files)
  {config}     path of a json file with all of the above
  {zconfig}    path of a file with the original ZConfig text, address fixed
  {python} {harness}   sys.executable, directory of this file

Optional parts:  [name? text]  is kept iff placeholder `name` is non-empty,
[!name? text]  iff it is empty.  [* text *]  is repeated for each storage, with
its own {storage_name}, {path} and {blob_dir}; without it, and without {config}
or {zconfig}, a server cannot have several storages.  E.g.
  zeo-rs --listen {addr} [blob_dir? --blobs {blob_dir}] [read_only? --ro]

A test whose server cannot be expressed by the template (demostorage,
hexstorage, an option whose placeholder the template lacks, ...) is reported as
'unmappable'.  A test that asks for a ZEO server whose storage is a ZEO client
(fan-out) gets a real, forked, python ZEO for that one server.

Every test runs in its own forked process, in its own process group and
temporary directory, with its own timeout.  There are no retries: a test that
fails now and then fails.
"""
import argparse
import fnmatch
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings


HERE = os.path.dirname(os.path.abspath(__file__))


def options(argv):
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument('--server', help='command template')
    p.add_argument('--protocol', choices=['msgpack', 'pickle'],
                   default='msgpack')
    p.add_argument('--list', action='append', default=[],
                   help='file of test ids (one a line, # comments); '
                   'may be given several times')
    p.add_argument('--only', action='append', default=[],
                   help='substring, or fnmatch pattern, of test ids')
    p.add_argument('--later', metavar='FILE',
                   help='tests that are expected to fail, and must')
    p.add_argument('--jobs', type=int, default=4, help='tests at a time')
    p.add_argument('--serial', metavar='FILE',
                   help='tests that run alone, after the others')
    p.add_argument('--timeout', type=float, default=120,
                   help='seconds for one test')
    p.add_argument('--repeat', type=int, default=1,
                   help='run each test N times')
    p.add_argument('--json', help='file for the results')
    p.add_argument('--extra', action='store_true',
                   help='also the classes ZEO itself leaves out')
    p.add_argument('--ready-timeout', type=float, default=20)
    p.add_argument('--stop-timeout', type=float, default=10)
    p.add_argument('--tmp', help='scratch directory (default: a new one)')
    p.add_argument('--keep-failed', metavar='DIR')
    p.add_argument('--list-tests', action='store_true')
    p.add_argument('-q', '--quiet', action='store_true',
                   help='one line only for tests that do not pass')
    o = p.parse_args(argv)
    if not o.server and not o.list_tests:
        p.error('--server is needed')
    return o


def load_tests(o):
    """All tests, with ZEO's way to start a server replaced."""
    # ZEO's tests look at the environment when they are imported.
    if o.protocol == 'msgpack':
        os.environ['ZEO_MSGPACK'] = '1'
    else:
        os.environ.pop('ZEO_MSGPACK', None)
    warnings.simplefilter('ignore')
    import ZEO._forker
    import ZEO.tests.forker
    from runner import external
    from runner import ports
    from runner import records
    from runner.collect import collect
    from runner.state import ORIGINAL
    from runner.state import STATE
    records.install()

    def get_port(ignored=None):
        return ports.free_port(STATE.ports)

    ORIGINAL['forker'] = ZEO._forker
    ORIGINAL['start'] = ZEO._forker.start_zeo_server
    tests = collect(o.extra)
    external.start_zeo_server.state = STATE
    ZEO.tests.forker.get_port = get_port
    for m in list(sys.modules.values()):      # every imported copy
        if getattr(m, '__name__', '').startswith('ZEO') and \
           getattr(m, 'start_zeo_server', None) is ORIGINAL['start']:
            m.start_zeo_server = external.start_zeo_server
    return tests


def choose(tests, o):
    """The names to run; those that lists name but nobody has."""
    from runner.expectations import read_list
    names = list(tests)
    listed = [n for path in o.list for n in read_list(path)]
    if o.list:
        names = [n for n in names if n in set(listed)]
    if o.only:
        names = [n for n in names
                 if any(x in n or fnmatch.fnmatch(n, x) for x in o.only)]
    later = read_list(o.later) if o.later else []
    serial = read_list(o.serial) if o.serial else []
    unknown = [n for n in listed + later + serial if n not in tests]
    return names, later, serial, unknown


def print_record(r, done, total, quiet):
    if quiet and r['verdict'] in ('ok', 'expected failure'):
        return
    print('%4d/%d %-16s %6.1f s  %s' % (
        done, total, r['verdict'], r['seconds'], r['id']), flush=True)
    if r['outcome'] != 'pass' and r['reason']:
        print('           ' + r['reason'], flush=True)
    for problem in r['problems']:
        print('           ! ' + problem[:400], flush=True)


def run(tests, names, later, serial, o):
    from runner.expectations import Expectations
    from runner.schedule import Schedule
    expectations = Expectations(set(later))
    total = len(names) * o.repeat

    def report(record):
        expectations.add(record)
        print_record(record, len(expectations.records), total, o.quiet)

    schedule = Schedule(tests, names, set(serial), o, report)

    def bye(signum, frame):
        schedule.kill()
        shutil.rmtree(o.tmp, ignore_errors=True)
        os._exit(130)

    signal.signal(signal.SIGINT, bye)
    signal.signal(signal.SIGTERM, bye)
    schedule.run()
    return expectations


def main(argv=None):
    o = options(argv)
    # Last, so that our modules hide nobody's.
    sys.path[:] = [x for x in sys.path if x not in ('', HERE)] + [HERE]
    tests = load_tests(o)
    names, later, serial, unknown = choose(tests, o)
    for name in unknown:
        print('no such test:', name)
    if o.list_tests:
        print('\n'.join(names))
        return 0

    from runner.external import Template
    from runner.state import STATE
    STATE.template = Template(o.server)
    STATE.protocol = o.protocol
    STATE.ready_timeout = o.ready_timeout
    STATE.stop_timeout = o.stop_timeout
    o.tmp = tempfile.mkdtemp(prefix='zeosuite-', dir=o.tmp)
    if o.keep_failed:
        o.keep_failed = os.path.abspath(o.keep_failed)
        os.makedirs(o.keep_failed, exist_ok=True)
    started = time.monotonic()
    try:
        expectations = run(tests, names, later, serial, o)
    finally:
        shutil.rmtree(o.tmp, ignore_errors=True)
    seconds = time.monotonic() - started
    if o.json:
        with open(o.json, 'w') as f:
            json.dump(dict(server=o.server, protocol=o.protocol,
                           seconds=round(seconds, 1),
                           tests=expectations.records), f, indent=1)
    print(f'\n{o.protocol}, {o.jobs} at a time, {seconds:.0f} s')
    print('\n'.join(expectations.summary()))
    if not names:
        print('no tests were chosen')
    return 1 if expectations.bad() or unknown or not names else 0


if __name__ == '__main__':
    sys.exit(main())
