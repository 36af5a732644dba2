"""What a forked test process knows; set up before the fork and in the child."""
import os


class State:
    # for all tests
    template = None
    protocol = 'pickle'
    ready_timeout = 20
    stop_timeout = 10
    harness = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # of this test
    test_id = ''
    workdir = ''
    ports = None
    unmappable = None
    external = 0        # servers of ours that it started
    python = 0          # servers of ZEO
    problems = ()       # what was wrong with a server, whatever the test says
    servers = ()


STATE = State()
ORIGINAL = {}           # what the suite replaces in ZEO
