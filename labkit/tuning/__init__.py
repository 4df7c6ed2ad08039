"""The engine: plans, freezing with proof, runs that can be steered, rewound, branched and replayed.

Knows neither Jupyter nor images. A network is anything with ordered named stages, a batch whatever the network takes.
"""

from labkit import lazy

lazy.attach(__name__)
