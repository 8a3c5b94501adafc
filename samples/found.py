"""Detections as data: a file in COCO's format, GeoJSON or CSV, or a folder of labelme's to be corrected by hand."""

from pathlib import Path

from mrcnn.cli import arguments
from mrcnn.data.formats import FILES, add_detections, as_file, write

# Pixels by which outlines may miss masks, so that they have few corners to move.
TOLERANCE = 1


def is_data(path):
    """Whether a path is not that of a picture: a folder, or a file with one of the endings."""
    return Path(path).suffix.lower() in ("", *FILES)


def check(path, inputs=()):
    """Try whether it can be written; a folder must be new or empty, as corrections may be in it.

    Raises:
        ValueError, OSError: it cannot.
    """
    path = Path(path)
    if path.suffix:
        arguments.check_output(path, list(FILES), inputs)
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and not empty; name another folder for --output.")
    else:
        arguments.check_folder(path)


class Found:
    """What is found in images, until `write`."""

    def __init__(self, class_names):
        self.file = as_file(class_names)

    def add(self, path, page, image, result):
        """An image and its detections."""
        add_detections(self.file, path, image.shape[:2], result, page)

    def write(self, args):
        """Writes to --output.

        Raises:
            OSError: it cannot be written.
        """
        path, options = Path(args.output), {}
        tolerance = TOLERANCE if args.tolerance is None else args.tolerance
        if path.suffix.lower() in ("", ".geojson"):
            options["tolerance"] = tolerance
        if args.transform and path.suffix.lower() == ".geojson":
            options["transform"] = args.transform
        write({"": self.file}, path, None if path.suffix else "labelme", **options)
        print(f"Wrote {path.resolve()}")
