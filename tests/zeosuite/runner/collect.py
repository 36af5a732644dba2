"""Collects the tests of ZEO and ours, and gives each a name."""
import collections
import importlib
import os
import unittest


MODULES = """
ZEO.tests.testConnection
ZEO.tests.testZEO
ZEO.tests.testZEO2
ZEO.tests.testZEOServer
ZEO.tests.testZEOOptions
ZEO.tests.testConfig
ZEO.tests.testConversionSupport
ZEO.tests.testTransactionBuffer
ZEO.tests.test_cache
ZEO.tests.test_client_credentials
ZEO.tests.test_client_side_conflict_resolution
ZEO.tests.test_marshal
ZEO.tests.test_sync
ZEO.tests.testssl
extra_tests
""".split()

# Test classes that ZEO keeps but does not run ("drop to save time").
# FileStorageTests: the only plain (non SSL) run of checkInterfaceFromRemote.
EXTRA = {
    'ZEO.tests.testZEO': ['FileStorageTests', 'FileStorageClientHexTests',
                          'FileStorageHexTests', 'DemoStorageTests'],
}
# of these, run by default (the rest with --extra)
EXTRA_DEFAULT = ('ZEO.tests.testZEO.FileStorageTests.'
                 'checkInterfaceFromRemoteStorage',)


def flatten(suite, layer=None):
    layer = getattr(suite, 'layer', layer)
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from flatten(t, layer)
        else:
            yield t, getattr(t, 'layer', layer)


def test_name(test, module, layer):
    kind = type(test).__name__
    if kind == 'DocFileCase':
        n = '%s:%s' % (module, os.path.basename(test._dt_test.filename))
    else:
        n = test.id()
    lname = getattr(layer, '__name__', '') or ''
    if lname.endswith('BlobTests') and lname.startswith('ClientStorage'):
        n += '@' + lname[len('ClientStorage'):-len('BlobTests')]
    return n


def collect(extra=False):
    tests = collections.OrderedDict()
    for mname in MODULES:
        module = importlib.import_module(mname)
        if hasattr(module, 'test_suite'):
            suite = module.test_suite()
        else:
            suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        pairs = list(flatten(suite))
        for cname in EXTRA.get(mname, ()):
            for prefix in 'check', 'test':
                loader = unittest.TestLoader()
                loader.testMethodPrefix = prefix
                for t, layer in flatten(loader.loadTestsFromTestCase(
                        getattr(module, cname))):
                    if extra or t.id() in EXTRA_DEFAULT:
                        pairs.append((t, layer))
        for t, layer in pairs:
            n = test_name(t, mname, layer)
            if 'AAAA_Test_Runner_Hack' in n:
                continue
            assert n not in tests, n
            tests[n] = t, layer
    return tests
