"""What a run tells: how far each stage moved, how sure a difference is, and one sentence of what is
happening.

Everything here reads runs and trains none, but for `evidence`, which trains many and keeps what
came of them.
"""

from labkit import lazy

lazy.attach(__name__)
