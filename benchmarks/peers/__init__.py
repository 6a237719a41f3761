"""Other servers that do what switchd does, one small file each; `benchmarks.servers` has them in a table.

Each is what its documentation shows, on its fastest documented event loop, with one worker, and without a log. They do
their work at `/echo` (WebSocket), `/broadcast` (the same, to everybody), `/addone` and `/`. All but `switchd`'s own
neighbours run in an environment that `benchmarks.cache` has made.
"""
