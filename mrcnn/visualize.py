"""The names of the 2017-2019 package's `mrcnn.visualize`. Each one lives in the room that it is about; look there."""

from mrcnn.draw.figures import *  # noqa: F403
from mrcnn.draw.instances import apply_mask, draw_box, draw_instances, random_colors  # noqa: F401
