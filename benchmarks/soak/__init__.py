"""A day in ten minutes: a server under load that holds, and what is left of it. `python -m benchmarks.soak --help`.

    languages       what clients say and hear, without I/O
    clients         single clients, on asyncio
    plan, found     how much of it, and what came of it
    pacing          many things at the same time, but not too many
    crowd           all clients: those that stay, come and go, vanish, are silent
    server          a twistd as a process, looked at from outside
    course          what happens, in which order, and what must not
    __main__        the command

It is bounded in time and in everything else, stays on loopback, and ends what it has started.
"""
