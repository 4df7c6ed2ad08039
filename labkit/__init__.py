"""labkit: fine-tuning you can touch.

`import labkit` loads nothing heavy. Each public name below is imported from its room when it is first used, so a
notebook starts at once and a script that only needs data never waits for matplotlib.
"""

from labkit import lazy
from labkit.hosts import version_of

__version__ = version_of("labkit")

lazy.attach(__name__)
