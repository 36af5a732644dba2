"""The server under test, which is killed and started again."""

import os
import shlex
import signal
import socket
import subprocess
import time

START_SECONDS = 30
STOP_SECONDS = 20


class Server:
    """`template` is its command line, with {port}, {data} and {blobs}."""

    def __init__(self, template, folder):
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        values = {
            "port": self.port,
            "data": os.path.join(folder, "data"),
            "blobs": os.path.join(folder, "blobs"),
        }
        self.blobs = values["blobs"]
        self.command = [word.format(**values) for word in shlex.split(template)]
        self.log = os.path.join(folder, "server.log")
        self.process = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        patience = time.monotonic() + START_SECONDS
        while not is_open(self.address):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > patience:
                raise RuntimeError(f"the server does not listen after {START_SECONDS} s:\n{self.tail()}")
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In order; the status must be 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        if status != 0:
            raise RuntimeError(f"the server stopped with {status}:\n{self.tail()}")

    def tail(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-20:])


def is_open(address):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
