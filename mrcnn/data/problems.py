"""What is wrong with a data set, as a list and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

# What is wrong -> what to do about it.
REMEDIES = {
    "annotation that cannot be read": "Mend or delete it; it is left out.",
    "image not in the file": "Give the id that an image of the file has; it is left out.",
    "class not in the file": "Give the id that a category of the file has; it is left out.",
    "annotation id used twice": "Give each its own id; all are used.",
    "image id used twice": "Give each its own id.",
    "file missing": "Put it there, or delete its entry.",
    "image cannot be read": "Replace the file, or delete its entry; training goes on without it.",
    "image of another size than annotated": "Write the file's size, if the objects are annotated at that.",
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
