"""Pictures that a set cannot take along when it is written."""

from __future__ import annotations

from tqdm.auto import tqdm

from mrcnn.data.arrays import read_page
from mrcnn.data.coco_file import CocoFile, Image
from mrcnn.data.problems import Problem
from mrcnn.data.reading import image_size


def leave_out(files: dict[str, CocoFile]) -> None:
    """Take images whose pixels cannot be read, or are more or fewer than their objects refer to, out of a set that is
    to be written, with their objects; each is then among the problems of its file. Every image is decoded."""
    every = [(file, number, image) for file in files.values() for number, image in file.images.items()]
    for file, number, image in tqdm(every, desc="Checking", unit="image", disable=None):
        problem = _problem(image)
        if problem:
            file.problems.append(problem)
            del file.images[number]
            file.objects.pop(number, None)


def _problem(image: Image) -> Problem | None:
    """What is wrong with an image's file."""
    try:
        if image.page is None:
            size = image_size(image.path, decode=True)
        else:
            size = read_page(image.path, image.page).shape[:2]
    except FileNotFoundError:
        return Problem("file missing", image.path)
    except OSError as error:
        return Problem("image cannot be read", image.path, str(error))
    if size == (image.height, image.width):
        return None
    words = f"{size[1]}x{size[0]}, not {image.width}x{image.height}"
    return Problem("image of another size than annotated", image.path, words)
