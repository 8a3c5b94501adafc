"""The settings of a model, its training and its data: `Config`."""

from mrcnn.settings.base import CONFIG, settings
from mrcnn.settings.checks import SETTINGS
from mrcnn.settings.config import Config
from mrcnn.settings.kinds import Choice
from mrcnn.settings.modern import ModernConfig

__all__ = ["CONFIG", "SETTINGS", "Choice", "Config", "ModernConfig", "settings"]
