"""What is wrong with a data set, as a list and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

# What is wrong -> what to do about it.
REMEDIES = {
    "annotation file that cannot be used": "Mend or replace the file.",
    "annotation that cannot be read": "Mend or delete it; it is left out.",
    "annotation that cannot be used": "Mend or delete it; it is left out.",
    "difficult that is not 0 or 1": "Write 1 for an object that does not count; it is taken for 0.",
    "image not in the file": "Give the id that an image of the file has, or delete it; it is left out.",
    "class not in the file": "Give the id that a category of the file has, or delete it; it is left out.",
    "annotation without an id": "Give it a number of its own; it is used.",
    "annotation id used twice": "Give each its own id; all are used.",
    "segmentation that cannot be read": "Mend it; the box is a region that does not count, as that of a crowd.",
    "mask of another size than the image": "Correct the size; the box is a region that does not count.",
    "mask outside the image": "Correct its coordinates, which are pixels; the box is a region that does not count.",
    "mask without area": "Correct its coordinates, or delete it; the box is a region that does not count.",
    "mask without a pixel": "Delete the annotation; it is left out.",
    "polygon of fewer than three points": "Delete the polygon; it is left out.",
    "object without a mask": "Give it one, or delete it; it counts where boxes alone are trained or evaluated.",
    "bbox that cannot be read": "Write x, y, width, height; the mask's box is taken.",
    "box without area": "Write x, y, width, height; the mask's box is taken.",
    "box beside its mask": "Write x, y, width, height; the mask's box is taken.",
    "box outside the image": "Write x, y, width, height in pixels; the mask's box is taken.",
    "area that cannot be read": "Write a number of pixels, or none; the mask's pixels are counted.",
    "area that cannot be": "Write the number of pixels, or none; the mask's pixels are counted.",
    "keypoints that cannot be read": "Write x, y, v for each keypoint; they are left out.",
    "keypoints of another number": "Write x, y, v for each keypoint of the class; they are left out.",
    "num_keypoints that is wrong": "Write how many v are above 0; they are counted anew.",
    "keypoint far from the image": "Correct it, which is in pixels, or give it v = 0; it is taken for v = 0.",
    "keypoint outside the image": "Correct it, or give it v = 0.",
    "image that cannot be used": "Mend or delete its entry; it is left out with its objects.",
    "image without a size": "Write the picture's height and width; they are read from the picture.",
    "image id used twice in a file": "Give each its own id; they are left out, as nobody knows whose the objects are.",
    "image id used twice": "Results name images by these ids; give each its own if you need to tell them apart.",
    "image given twice": "Delete one; the first counts.",
    "image outside the set's folder": "Move it into the folder, or load the set with outside=True; it is left out.",
    "file of two images": "Delete one of the entries; objects of the one are background in the other.",
    "category that cannot be read": "Give it an id and a name; it is left out with its objects.",
    "class without a name": "Give it a name; it is called by its id.",
    "class name used twice": "Give each its own name.",
    "category given twice": "Delete one; the first counts.",
    "skeleton that does not fit": "Write pairs of numbers of keypoints, from 1 on; nothing reads it here.",
    "file missing": "Put it there, or delete its entry.",
    "image cannot be read": "Replace the file, or delete its entry; it is left out.",
    "image of another size than annotated": "Write the picture's size, if objects refer to that; it is left out.",
    "entry without filename and regions": "Mend or delete it; it is left out.",
    "file name that cannot be used": "Name a file in the folder, or load the set with outside=True; it is left out.",
    "two entries for one file": "Delete one; their regions are joined, equal ones count once.",
    "regions that are no list": "Mend or delete the entry; the image is left out.",
    "region that cannot be used": "Draw it anew or delete it; it is left out.",
    "class not among the classes": "Give it one of them, or name this one, too; the region is left out.",
    "labels that cannot be used": "Write whole numbers in a file of the image's size; its objects are left out.",
    "labels missing": "Put the file there, or delete the image; it is left out.",
    "image of another range of values": "Scale it to 0..255, or a file of 16 bits to 0..65535; it is used as it is.",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, a key of `REMEDIES`; where (the path of the image, or of the annotation file); and
    the details, such as the entry."""

    what: str
    path: str
    details: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES.get(self.what, "")


def format_problems(problems: Sequence[Problem], images: int, each: int | None = None) -> str:
    """A table of problems: each kind with its count and its remedy, and below it the files and entries, of each kind at
    most so many; or that there is none."""
    if not problems:
        return f"{images} images, nothing wrong."
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.what, []).append(problem)
    lines = []
    for what, found in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        lines.append(f"{what}: {len(found)}. {found[0].remedy}".rstrip())
        lines += [f"    {p.path}  {p.details}" for p in found[:each]]
        if each is not None and len(found) > each:
            lines.append(f"    and {len(found) - each} more")
    return "\n".join(map(_printable, [*lines, f"{images} images, {len(problems)} problems."]))


def _printable(text):
    """On one line, without the halves of characters that JSON can hold and no terminal takes."""
    return " ".join(text.splitlines()).rstrip().encode("utf-8", "backslashreplace").decode()
