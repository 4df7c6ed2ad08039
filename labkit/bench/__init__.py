"""The bench: the same work done by labkit, by what people use today, and by bare loops that mark the floor.

Every measurement is one peer doing one work in a fresh process of its own, so that peak memory is the peer's alone
and nothing is warm from the one before. This room may use all rooms below it; only the command line uses it. Times
are in seconds of the clock on the wall, memory in MB (10**6 bytes). Names are loaded when they are used: what the
process of a peer imports counts into its memory.
"""

from labkit import lazy

lazy.attach(__name__)
