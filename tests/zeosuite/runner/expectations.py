"""Compares outcomes with what is expected: everything passes, but for `later`.

`later` names tests that need what the server does not have yet.  They run all
the same: one that passes must be taken off the list.
"""
import collections


def read_list(path):
    """Test ids, one a line; '#' begins a comment."""
    with open(path) as f:
        lines = [line.split('#')[0].strip() for line in f]
    return [line for line in lines if line]


class Expectations:

    def __init__(self, later):
        self.later = later
        self.records = []

    def verdict(self, record):
        """ok, expected failure, unexpected pass, or the bad outcome."""
        passed = record['outcome'] == 'pass'
        if record['id'] in self.later:
            return 'unexpected pass' if passed else 'expected failure'
        return 'ok' if passed else record['outcome']

    def add(self, record):
        # A server that crashed or had to be killed is no success, even if
        # the test did not look.
        if record['outcome'] == 'pass' and record['problems']:
            record['outcome'] = 'fail'
            record['reason'] = 'server: ' + '; '.join(record['problems'])
        record['verdict'] = self.verdict(record)
        self.records.append(record)

    def bad(self):
        return [r for r in self.records
                if r['verdict'] not in ('ok', 'expected failure')]

    def summary(self):
        """Lines of text."""
        counts = collections.Counter(r['verdict'] for r in self.records)
        yield f'{len(self.records)} tests: ' + ', '.join(
            f'{n} {verdict}' for verdict, n in sorted(counts.items()))
        for r in self.bad():
            yield f'  {r["verdict"]}: {r["id"]}'
            if r['verdict'] == 'unexpected pass':
                yield '      remove it from the list of what comes later'
            else:
                yield f'      {r["reason"][:300]}'
