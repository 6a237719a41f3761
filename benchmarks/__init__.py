"""switchd beside its peers, in one run: `python -m benchmarks --help`. docs/performance.md says how it measures.

    rows            what is measured, and the goal of each row: data
    servers         who is measured, one entry each: data; a server as a process
    cache           fetches and builds what the servers and the load client need, into a folder
    measure         runs the load, in turns, and gives medians
    report          tables, for a terminal and for docs/performance.md
    __main__        the command
    client/         the load client, in C
    peers/          the servers, one small file each
    switchd.toml    the configuration of ours
    page            the page in it
    paths           the hot paths of switchd, as steps in memory
    counting        counts the work of each, in a process of its own
    guard           compares that with recorded.json, what is recorded: tests/test_performance.py
    soak/           another program: a server under load that has to hold (docs/soak.md)

The first six, and `guard`, import nothing but each other and the standard library.
"""
