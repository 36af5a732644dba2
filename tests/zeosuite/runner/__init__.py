"""Runs ZEO's own test suite against an external server process.

Start reading at ../run.py.  Each test runs in its own forked process
(schedule, child); in it, ZEO's start_zeo_server is external.start_zeo_server.
"""
