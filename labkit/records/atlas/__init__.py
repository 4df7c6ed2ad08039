"""The atlas: recorded sweeps that answer at once what a run with some settings will come to.

`recorded/` holds a sheet for each data set and network: a CSV with a row a run and a JSON with recipe, machine,
versions and seconds. `expect` answers from them with a mean curve and a band; `expectation.judge(run)` says whether a
run that was really made landed inside. Asking trains nothing; `build` and `check` do.
"""

from labkit import lazy

lazy.attach(__name__)
