"""switchd beside its peers, in one run: `python -m benchmarks --help`. docs/performance.md says how it measures.

    rows        what is measured, and the goal of each row: data
    servers     who is measured, one entry each: data; a server as a process
    cache       fetches and builds what the servers and the load client need, into a folder
    measure     runs the load, in turns, and gives medians
    report      tables, for a terminal and for docs/performance.md
    client/     the load client, in C
    peers/      the servers, one small file each
    paths       the hot paths of switchd, as steps in memory
    guard       counts the work of each, and compares it with what is recorded: tests/test_performance.py

The first six import nothing but the standard library.
"""
