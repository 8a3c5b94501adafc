"""The name of the 2017-2019 package's `mrcnn.config`. The settings live in `mrcnn.settings`."""

import numpy as np

from mrcnn.settings import Config, ModernConfig

__all__ = ["Config", "ModernConfig", "np"]
