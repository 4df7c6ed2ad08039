"""What one run tells: how far each stage moved, how sure a difference is, and one sentence of what is happening.

Everything here reads runs and trains none. What many runs tell is in `records`.
"""

from labkit import lazy

lazy.attach(__name__)
