"""What is wrong with a data set, as a list and as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, where (the image's path, or that of the annotation file) and the details."""

    what: str
    path: str
    details: str = ""


def format_problems(problems: Sequence[Problem], images: int) -> str:
    """A table of problems: each kind with its count, and below it the images; or that there is none."""
    if not problems:
        return f"{images} images, nothing wrong."
    lines = []
    for what, count in Counter(problem.what for problem in problems).most_common():
        lines.append(f"{what}: {count}")
        lines += [f"    {p.path}  {p.details}".rstrip() for p in problems if p.what == what]
    bad = len({problem.path for problem in problems})
    return "\n".join([*lines, f"{images} images, {len(problems)} problems in {bad} of them."])
