"""One test, in a forked process of its own."""
import ctypes
import faulthandler
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import unittest

from .external import tail
from .state import STATE


class Result(unittest.TestResult):
    outcome = None
    detail = ''

    def _set(self, outcome, detail):
        order = ('fail', 'error')
        if self.outcome in order and outcome not in order:
            return
        if self.outcome is None or outcome == 'error':
            self.outcome = outcome
        self.detail += detail

    def addError(self, test, err):
        super().addError(test, err)
        self._set('error', self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._set('fail', self.failures[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._set('skip', reason)

    def addSuccess(self, test):
        super().addSuccess(test)
        if self.outcome is None:
            self.outcome = 'pass'

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._set('fail', ''.join(traceback.format_exception(*err)))


def last_line(detail):
    if 'Failed example:' in detail:
        part = detail.split('Failed example:', 1)[1]
        part = part.split('\n-----', 1)[0]
        if 'Exception raised:' in part and 'Traceback' in part:
            code, tb = part.split('Exception raised:', 1)
            tb = [x for x in tb.splitlines() if x.strip()]
            part = code + '\nException raised:\n' + tb[-1]
        return 'Failed example: ' + ' / '.join(
            x.strip() for x in part.splitlines() if x.strip())[:400]
    lines = [x.strip() for x in detail.splitlines() if x.strip()]
    # the last line that looks like an exception
    for x in reversed(lines):
        if re.match(r'[\w.]+(Error|Exception|Disconnected|Failure|Exit|'
                    r'Interrupt|Warning)?\b.*', x) and not x.startswith(
                        ('File ', 'Traceback')):
            return x[:400]
    return lines[-1][:400] if lines else ''


def drop_override(libc):
    """As root: give up ignoring file permissions.

    Some blob tests check that committed blobs cannot be opened for writing.
    """
    if os.geteuid() != 0 or sys.platform != 'linux':
        return
    caps = (1 << 1) | (1 << 2)    # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for cap in 1, 2:
        libc.prctl(24, cap, 0, 0, 0)           # PR_CAPBSET_DROP
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) == 0:
        for i in 0, 1, 2:
            data[i] &= ~caps & 0xffffffff
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        libc.capset(header, data)


def run_child(name, test, layer, workdir, timeout, result_path):
    os.setpgid(0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG
    drop_override(libc)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.makedirs(workdir, exist_ok=True)
    cwd = os.path.join(workdir, 'cwd')
    os.mkdir(cwd)
    os.chdir(cwd)
    tempfile.tempdir = cwd
    os.environ['TMPDIR'] = cwd
    out = os.open(os.path.join(workdir, 'output.txt'),
                  os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    sys.stdout = open(1, 'w', buffering=1, closefd=False)
    sys.stderr = open(2, 'w', buffering=1, closefd=False)
    sys.stdin = open(0, closefd=False)
    faulthandler.enable(sys.stderr)
    faulthandler.dump_traceback_later(max(timeout - 1, 1), file=sys.stderr)

    STATE.workdir = workdir
    STATE.test_id = name
    STATE.unmappable = None
    STATE.external = STATE.python = 0
    STATE.problems = []
    STATE.servers = []
    result = Result()
    t0 = time.monotonic()
    try:
        if layer is not None:
            layer.setUp()
            layer.testSetUp()
        test.run(result)
        if layer is not None:
            layer.testTearDown()
    except BaseException:
        result.outcome = 'error'
        result.detail += traceback.format_exc()
    seconds = time.monotonic() - t0
    problems = list(STATE.problems)
    for s in STATE.servers:       # servers that the test did not stop itself
        try:
            s.stop()
        except Exception:
            traceback.print_exc()
    for p in STATE.problems[len(problems):]:
        problems.append(p)
    outcome = result.outcome or ('pass' if result.testsRun else 'error')
    reason = ''
    if outcome != 'pass':
        reason = last_line(result.detail)
    if STATE.unmappable:
        outcome = 'unmappable'
        reason = STATE.unmappable
    rec = dict(id=name, outcome=outcome, reason=reason,
               seconds=round(seconds, 3),
               external_servers=STATE.external,
               python_servers=STATE.python,
               problems=problems)
    if outcome in ('fail', 'error'):
        rec['detail'] = result.detail[-8000:]
        if STATE.servers:
            rec['server_output'] = tail(STATE.servers[-1].out, 15)
    with open(result_path + '.tmp', 'w') as f:
        json.dump(rec, f)
    os.rename(result_path + '.tmp', result_path)
    sys.stdout.flush()
    os._exit(0)
