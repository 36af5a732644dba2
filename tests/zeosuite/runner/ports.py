"""Ports for tests that run at the same time.

Tests choose a port first and listen on it later, and stop a server and start
it again on the same port.  So each of the tests that run at one time has a
range of its own, below the ports that the kernel gives to clients.
"""
import random
import socket

FIRST, LAST, EACH = 10000, 32000, 500
RANDOM = random.SystemRandom()


class Ranges:
    """Hands out ranges; where they begin differs from run to run."""

    def __init__(self):
        self.number = (LAST - FIRST) // EACH
        self.offset = RANDOM.randrange(self.number)

    def slot(self, n):
        i = (self.offset + n) % self.number
        return range(FIRST + i * EACH, FIRST + (i + 1) * EACH)


def free_port(ports):
    """A port that is free, and so is the next one: some tests use both."""
    for i in range(100):
        port = RANDOM.choice(ports[:-1])
        if is_free(port) and is_free(port + 1):
            return port
    raise RuntimeError(f'no free port in {ports}')


def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True
