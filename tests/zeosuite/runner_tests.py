"""Tests of the runner itself; they need no packages."""
import logging
import unittest

from runner import ports
from runner.config import Config
from runner.config import Unmappable
from runner.expectations import Expectations
from runner.external import Template
from runner.records import Record


def record(id, outcome, problems=()):
    return dict(id=id, outcome=outcome, reason='why', seconds=0,
                problems=list(problems))


class ExpectationsTests(unittest.TestCase):

    def bad(self, later, *records):
        expectations = Expectations(later)
        for r in records:
            expectations.add(r)
        return [r['verdict'] for r in expectations.bad()]

    def test_everything_must_pass(self):
        self.assertEqual(self.bad(set(), record('a', 'pass')), [])
        for outcome in 'fail', 'error', 'timeout', 'unmappable', 'skip':
            self.assertEqual(self.bad(set(), record('a', outcome)), [outcome])

    def test_what_comes_later_must_fail(self):
        self.assertEqual(self.bad({'a'}, record('a', 'fail')), [])
        self.assertEqual(self.bad({'a'}, record('a', 'unmappable')), [])
        self.assertEqual(
            self.bad({'a'}, record('a', 'pass')), ['unexpected pass'])

    def test_one_failure_of_many_runs_counts(self):
        self.assertEqual(
            self.bad(set(), record('a', 'pass'), record('a', 'fail')),
            ['fail'])

    def test_a_crashed_server_fails_a_test_that_did_not_look(self):
        self.assertEqual(
            self.bad(set(), record('a', 'pass', ['server died'])), ['fail'])


class RecordTests(unittest.TestCase):

    def text(self, message, *args):
        return Record(
            'name', logging.ERROR, 'file', 1, message, args, None).message

    def test_a_record_has_its_text_before_any_handler_has_it(self):
        self.assertEqual(self.text('%s is %d', 'one', 1), 'one is 1')
        self.assertFalse(hasattr(
            logging.LogRecord('name', 1, 'file', 1, 'text', (), None),
            'message'))

    def test_what_cannot_be_formatted_is_for_handlers_to_tell(self):
        self.assertIn('%d', self.text('%d', 'one'))


class TemplateTests(unittest.TestCase):

    values = dict.fromkeys(Template.REQUIRED, '')

    def render(self, text, **values):
        return Template(text + ' {protocol}').render(
            dict(self.values, protocol='pickle', **values))[:-1]

    def test_optional_parts(self):
        text = 'x [!unix? tcp:{addr}] [unix? unix:{unix}] d[blob_dir??b={blob_dir}]'
        self.assertEqual(
            self.render(text, unix='', addr='h:1'), ['x', 'tcp:h:1', 'd'])
        self.values = dict(self.values, blob_dir='y z')
        self.assertEqual(
            self.render(text, unix='s', addr='s'), ['x', 'unix:s', 'd?b=y z'])

    def test_parts_for_each_storage(self):
        text = '[* -s {storage_name}=f:{path}[blob_dir??b={blob_dir}] *] {protocol}'
        template = Template(text)
        self.assertTrue(template.repeats())
        values = dict(self.values, protocol='pickle')
        storages = [dict(name='a', path='x y', blob_dir='b'),
                    dict(name='2', path='z', blob_dir='')]
        self.assertEqual(
            template.render(values, storages),
            ['-s', 'a=f:x y?b=b', '-s', '2=f:z', 'pickle'])
        self.assertFalse(Template('{storage_name}').repeats())

    def test_an_option_that_is_lacking_is_no_failure_of_the_server(self):
        self.values = dict(self.values, transaction_timeout='1')
        with self.assertRaises(Unmappable):
            self.render('x')


class ConfigTests(unittest.TestCase):

    def test_storage_and_address(self):
        config = Config(
            '<blobstorage>\nblob-dir b\n<filestorage>\npath Data.fs\n'
            '</filestorage>\n</blobstorage>',
            '<zeo>\naddress 127.0.0.1:123\nread-only true\n</zeo>', 'pickle')
        self.assertEqual((config.host, config.port), ('127.0.0.1', 123))
        self.assertEqual(config.v['read_only'], 'true')
        [storage] = config.storages
        self.assertEqual(storage['path'], 'Data.fs')
        self.assertEqual(storage['blob_dir'], 'b')

    def test_an_unknown_storage_cannot_be_mapped(self):
        with self.assertRaises(Unmappable):
            Config('<demostorage>\n</demostorage>',
                   '<zeo>\naddress 127.0.0.1:0\n</zeo>', 'pickle')


class PortsTests(unittest.TestCase):

    def test_tests_that_run_together_share_no_ports(self):
        ranges = ports.Ranges()
        slots = [set(ranges.slot(n)) for n in range(ranges.number)]
        self.assertEqual(len(set().union(*slots)), sum(map(len, slots)))
        self.assertIn(ports.free_port(ranges.slot(0)), slots[0])
