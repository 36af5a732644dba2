"""Loads a server with one operation of `zodbshootout` 0.8.0, unmodified: see its documentation.

Settings: `operation`, one of its benchmarks; `objects` of a transaction (its `--object-counts`);
`values`, how often it measures in one run, beside one warm-up. It makes no longer or shorter runs, so
`seconds` mean nothing here, and it tells means only: each of its values is the mean time of a
transaction, of the slowest of its processes. Here that is divided by the objects of a transaction.

Its run has no part that could be counted apart, so CPU times of client and server are those of all
of it: it also writes the objects with which it works.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import talk
from talk import Failed

# What it returns for the seconds of something that failed, or that it does not even try.
FAILED_SECONDS = 666

CONFIGURATION = """
<zodb server>
  <zeoclient>
    server {address}
  </zeoclient>
</zodb>
"""


def drive(job):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        configuration, output = folder / "zodb.conf", folder / "output.json"
        configuration.write_text(CONFIGURATION.format(**job))
        command = [sys.executable, "-m", "zodbshootout", *arguments(job, output), str(configuration)]
        command.append(job["settings"]["operation"])
        talk.say(says="began")
        ended = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        used = talk.usage(resource.RUSAGE_CHILDREN)
        talk.say(says="ended")
        sys.stderr.write(ended.stderr)
        if ended.returncode != 0:
            raise Failed(f"zodbshootout ends with status {ended.returncode}: {last_line(ended.stderr)}")
        try:
            return {
                **measured(json.loads(output.read_text()), job),
                "client": used,
                "versions": talk.versions("zodbshootout", "pyperf", "ZEO", "ZODB", "persistent", "msgpack"),
            }
        except Failed as failed:
            raise Failed(f"{failed}: {last_line(ended.stderr)}") from None


def arguments(job, output):
    settings = job["settings"]
    return [
        "--include-mapping", "false", "--quiet", "--output", str(output),
        # One process of pyperf's, which measures so many values in it. One loop, or pyperf tries how
        # many it needs, and the runs of two servers would differ.
        "--processes", "1", "--values", str(settings["values"]), "--warmups", "1", "--loops", "1",
        "--object-counts", str(settings["objects"]), "--concurrency", str(job["connections"]),
    ]


def measured(suite, job):
    """The parts of what came of it that pyperf tells."""
    [benchmark] = suite["benchmarks"]
    # What all benchmarks of a suite have in common stands there, and not with each.
    metadata = {**suite.get("metadata", {}), **benchmark.get("metadata", {})}
    transactions = metadata["inner_loops"] * metadata["loops"]
    values = [value for run in benchmark["runs"] for value in run["values"]]
    if any(abs(value * transactions - FAILED_SECONDS) < 1e-6 for value in values):
        raise Failed(f"zodbshootout cannot do this: {metadata['name']}")
    operations = operations_per_transaction(job["settings"])
    return {
        "operations": len(values) * transactions * operations * job["connections"],
        "seconds": sum(values) * transactions,
        "means_ns": [value / operations * 1e9 for value in values],
    }


def operations_per_transaction(settings):
    operation, objects = settings["operation"], settings["objects"]
    if operation in ("ex_commit", "im_commit", "tpc"):
        return 1
    # Of conflicting updates each process makes every other one.
    return objects // 2 if operation == "conflicts" else objects


def last_line(text):
    return (text.strip().splitlines() or ["it says nothing"])[-1]


if __name__ == "__main__":
    talk.main(drive)
