"""For MkDocs: links to files of the repository, as GitHub follows them, lead to their place in the reference."""

import posixpath
import re
from pathlib import Path

API = Path(__file__).parent / "api"

# [text](../../mrcnn/models/fcos.py), [text](../README.md#section)
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s#]+)(?:#[^)\s]*)?\)")


def places():
    """{file of the package, as mrcnn/models/fcos.py: its place in the reference, as api/model.md#mrcnn.models.fcos}."""
    found = {}
    for page in sorted(API.glob("*.md")):
        for name in re.findall(r"^::: (mrcnn\.[\w.]+)", page.read_text(), re.MULTILINE):
            module = re.sub(r"\.[A-Z]\w*$", "", name).replace(".", "/")
            is_package = (API.parent.parent / module).is_dir()
            found.setdefault(f"{module}/__init__.py" if is_package else f"{module}.py", f"api/{page.name}#{name}")
    return found


def on_page_markdown(markdown, page, **kwargs):
    """The page with its links to files outside docs turned; those that the reference leaves out are plain text."""
    known, folder = places(), posixpath.dirname(page.file.src_uri)

    def turn(link):
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        if not target.startswith("../"):
            return link[0]
        place = known.get(target.removeprefix("../"))
        return f"[{link[1]}]({posixpath.relpath(place, folder or '.')})" if place else link[1]

    return LINK.sub(turn, markdown)
