"""Runs tests, some at a time, each in a process and a folder of its own."""
import collections
import json
import os
import re
import select
import shutil
import signal
import tempfile
import time
import traceback

from .child import run_child
from .external import tail
from .ports import Ranges
from .state import STATE


class Running:
    """A forked test: its own process group, folder and range of ports."""

    def __init__(self, name, test, layer, options, slot, ports):
        self.name = name
        self.slot = slot
        self.started = time.monotonic()
        self.timeout = options.timeout
        self.work = tempfile.mkdtemp(prefix='t-', dir=options.tmp)
        self.result_path = os.path.join(self.work, 'result.json')
        self.pid = os.fork()
        if self.pid == 0:
            try:
                STATE.ports = ports
                run_child(name, test, layer, os.path.join(self.work, 'w'),
                          options.timeout, self.result_path)
            except BaseException:
                traceback.print_exc()
            os._exit(9)
        try:
            os.setpgid(self.pid, self.pid)   # the child does so, too
        except OSError:
            pass
        self.pidfd = os.pidfd_open(self.pid)

    def seconds_left(self):
        return self.started + self.timeout - time.monotonic()

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)   # the test and its servers
        except OSError:
            pass

    def end(self, keep_failed, timed_out):
        """Reap it, clean up, return the record of its result."""
        self.kill()
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.pidfd)
        try:
            with open(self.result_path) as f:
                record = json.load(f)
        except (OSError, ValueError):
            record = self.without_result(timed_out, status)
        if keep_failed and record['outcome'] not in ('pass', 'unmappable'):
            kept = os.path.join(keep_failed, re.sub(r'\W+', '_', self.name))
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(self.work, kept)
        else:
            shutil.rmtree(self.work, ignore_errors=True)
        return record

    def without_result(self, timed_out, status):
        output = tail(os.path.join(self.work, 'w', 'output.txt'), 60)
        what = (f'no result in {self.timeout} s' if timed_out
                else f'test process died, status {status}')
        return dict(
            id=self.name, outcome='timeout' if timed_out else 'error',
            reason=f'{what}; {output[-700:]}',
            seconds=round(time.monotonic() - self.started, 3),
            external_servers=-1, python_servers=-1, problems=[])


class Schedule:
    """First the tests that bear company, then those that run alone."""

    def __init__(self, tests, names, serial, options, report):
        names = [n for n in names for i in range(options.repeat)]
        self.together = collections.deque(n for n in names if n not in serial)
        self.alone = collections.deque(n for n in names if n in serial)
        self.tests = tests
        self.options = options
        self.report = report
        self.ranges = Ranges()
        self.running = {}

    def run(self):
        poll = select.poll()
        while self.start(poll) or self.running:
            left = min(r.seconds_left() for r in self.running.values())
            for fd, event in poll.poll(max(left, 0) * 1000 + 1):
                self.end(poll, fd, False)
            for fd, r in list(self.running.items()):
                if r.seconds_left() < 0:
                    self.end(poll, fd, True)

    def start(self, poll):
        """Start what may start now; whether anything was started."""
        started = False
        while True:
            if self.together and len(self.running) < self.options.jobs:
                name = self.together.popleft()
            elif self.alone and not self.together and not self.running:
                name = self.alone.popleft()
            else:
                return started
            slot = min(set(range(self.options.jobs))
                       - {r.slot for r in self.running.values()})
            r = Running(name, *self.tests[name], self.options, slot,
                        self.ranges.slot(slot))
            self.running[r.pidfd] = r
            poll.register(r.pidfd, select.POLLIN)
            started = True

    def end(self, poll, fd, timed_out):
        poll.unregister(fd)
        r = self.running.pop(fd)
        self.report(r.end(self.options.keep_failed, timed_out))

    def kill(self):
        for r in self.running.values():
            r.kill()
