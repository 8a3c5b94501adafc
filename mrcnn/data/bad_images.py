"""Images that cannot be used, and when that is not their fault."""

from __future__ import annotations

from mrcnn.data.annotations import Annotation
from mrcnn.data.dataset import Dataset

# As many images one after the other that fail with the same words do not fail by themselves.
IN_A_ROW = 3

# What no image brings about.
OTHERS_FAULT = (MemoryError, ImportError, NameError)


class BadImages(dict[int, Exception]):
    """The images that failed, each with its error.

    Args:
        dataset: whose images they are.
        note: what is printed of each, with {} for its number.
        share: of the set that may fail.
    """

    def __init__(self, dataset: Dataset, note: str, share: float = 1.0) -> None:
        super().__init__()
        self.dataset, self.note, self.share = dataset, note, share
        self._words: tuple[type, str] | None = None
        self._row: set[str | int] = set()
        self._named: set[tuple[str | int, type, str]] = set()

    def add(self, image_id: int, error: Exception) -> None:
        """Note an image and name it; tiles or pages of one file that fail with the same words once, as one of a row.

        Raises:
            MemoryError, ImportError, NameError: the error is one of them.
            RuntimeError: three images in a row failed with the same words, or more than `share` of all failed.
        """
        if isinstance(error, OTHERS_FAULT):
            raise error
        self[image_id] = error
        path = self.dataset.image_info[image_id].get("path")
        file, words = str(path) if path else image_id, (type(error), str(error))
        if (file, *words) not in self._named:
            self._named.add((file, *words))
            print(f"\n{self.note.format(image_id)} ({path}): {type(error).__name__}: {error}")
        if words != self._words:
            self._words, self._row = words, set()
        self._row.add(file)
        if len(self._row) == IN_A_ROW:
            raise RuntimeError(
                f"{IN_A_ROW} images in a row failed alike, so it is hardly their fault: {type(error).__name__}: {error}"
            ) from error
        if len(self) > self.share * len(self.dataset.image_ids):
            raise RuntimeError(
                f"{len(self)} of {len(self.dataset.image_ids)} images cannot be used, the last one {path}: {error}"
            ) from error

    def good(self) -> None:
        """Note that an image could be used: what fails next begins a new row."""
        self._words = None


def objects_or_none(dataset: Dataset, image_id: int) -> list[Annotation] | None:
    """The objects of an image, for what looks at those of a whole set: None if they cannot be read, which is said where
    the image is used.

    Raises:
        MemoryError, ImportError, NameError: as they come.
    """
    try:
        return dataset.load_annotations(image_id)
    except OTHERS_FAULT:
        raise
    except Exception:
        return None


def readable_objects(dataset: Dataset, image_id: int) -> list[Annotation]:
    """As `objects_or_none`, for what counts them: an image whose objects cannot be read has none."""
    return objects_or_none(dataset, image_id) or []
