"""For mkdocstrings: two habits of this project's source that its reader of docstrings does not know."""

import re
from itertools import dropwhile, takewhile

import griffe

# "    first, second: what they are" and the deeper lines below it
SHARED = re.compile(r"^    ((?:\w+, )+\w+):((?:.*)(?:\n     .*)*)", re.MULTILINE)


class Habits(griffe.Extension):
    """A comment above assignments documents each of them; what several parameters share is said of each."""

    def on_attribute_instance(self, *, attr, **kwargs):
        if attr.docstring or not attr.lineno or attr.labels == {"instance-attribute"}:
            return
        above = [line.strip() for line in reversed(attr.lines_collection[attr.filepath][: attr.lineno - 1])]
        group = dropwhile(lambda line: not line.startswith("#"), takewhile(bool, above))
        comment = [line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), group)]
        if comment:
            attr.docstring = griffe.Docstring(" ".join(reversed(comment)), parent=attr)

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = SHARED.sub(
                lambda found: "\n".join(f"    {name}:{found[2]}" for name in found[1].split(", ")), obj.docstring.value
            )
