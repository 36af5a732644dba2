"""What a driver hears and says: one JSON object a line. crates/loadgen/src/driver.rs has the words."""

import json
import resource
import sys
import traceback
from importlib import metadata


class Failed(Exception):
    """A wrong answer, a lost commit, an error: there is no result."""


def say(**message):
    """To the load generator."""
    print(json.dumps(message), flush=True)


def usage(who):
    """What this process or its children used until now."""
    used = resource.getrusage(who)
    return {
        "user_seconds": used.ru_utime,
        "system_seconds": used.ru_stime,
        "voluntary_switches": used.ru_nvcsw,
        "involuntary_switches": used.ru_nivcsw,
        "peak_resident_bytes": used.ru_maxrss * 1024,
    }


def versions(*names):
    """Of these packages, and of Python."""
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def main(drive):
    """Runs `drive(job)`, which returns what came of it; or says why there is nothing."""
    job = json.loads(sys.stdin.readline())
    try:
        done = drive(job)
    except Failed as failed:
        say(says="failed", why=str(failed))
    except Exception as error:
        traceback.print_exc()
        say(says="failed", why=f"{type(error).__name__}: {error}")
    else:
        say(says="done", **done)
