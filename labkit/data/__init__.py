"""The data room: what data sets there are, how they come here, and how files become batches.

`load_data` is the door. It lists the pictures (`sources`), decodes them once (`decode`, `store`), splits them
(`splits`), reports what was odd (`report`) and hands out batches (`images`, `augment`). `mislabel` and `shift` spoil
them on purpose. `cards` knows the data sets by name and `fetching` brings them here.
"""

from labkit import lazy

lazy.attach(__name__)
