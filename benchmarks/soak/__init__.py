"""A day in ten minutes: a server under load that holds, and what is left of it. `python -m benchmarks.soak --help`.

    languages       what clients say and hear, without I/O
    clients         clients on asyncio: those that stay, come and go, read slowly, vanish
    server          a twistd as a process, looked at from outside
    course          what happens, in which order, and what must not
    __main__        the command

It is bounded in time and in everything else, stays on loopback, and ends what it has started.
"""
