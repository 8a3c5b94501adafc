"""The name of the 2017-2019 package's `mrcnn.config`. The settings live in `mrcnn.settings`."""

from mrcnn.settings import Config, ModernConfig

__all__ = ["Config", "ModernConfig"]
