"""Autobahn|Testsuite's fuzzing client, run against a WebSocket echo: `python -m tests.testsuite --help`.

The suite was written for Python 2 and is not maintained. Nothing of it is in this repository: `package` fetches it and
converts it, into a cache; `client` runs its cases, each on a connection of its own.

The conversion is mechanical. What was a `str` in Python 2, text or bytes, becomes a `str` with one character for each
byte; `border` has what the converted files import in place of modules that want bytes, or are gone.
"""
