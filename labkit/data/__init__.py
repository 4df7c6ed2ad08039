"""The data room: what data sets there are, how they come here, and how files become batches.

`load_data` lists the images, decodes them once, splits them (`splits`), reports what was odd (`report`) and hands out
batches; what is of images alone is in `images`. `mislabel` gives wrong labels on purpose. `cards` knows the data sets
by name and `fetching` brings them here.
"""

from labkit import lazy

lazy.attach(__name__)
