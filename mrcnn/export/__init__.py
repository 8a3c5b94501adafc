"""Models outside of the lab: files of other runtimes, and what reads them without Keras."""

from mrcnn.export.runtime import Exported

__all__ = ["Exported"]
