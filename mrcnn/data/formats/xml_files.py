"""XML files of annotations, read without what can make XML dangerous."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

# What to do about files of another root.
OTHERS = {
    "annotations": " It is CVAT's own format, which is not read here: export the task from CVAT as COCO 1.0, skeletons "
    "as COCO Keypoints 1.0."
}


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. One with a DOCTYPE is refused: it alone can define entities, of which a few lines can
    grow to gigabytes, or which are other files.

    Raises:
        ValueError: no XML, or with a DOCTYPE; one line that names the file.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

    def refuse(*_):
        raise ValueError("it has a DOCTYPE, which no annotations need; delete that")

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    if path.exists() and not path.is_file():  # a pipe never ends
        raise ValueError(f"{path} is no file.")
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last of encodings that expat does not know
        raise ValueError(f"{path} is no XML of annotations, or was cut off: {error}.") from None


def read_annotation(path: Path) -> ElementTree.Element:
    """The root <annotation> of a file about one image.

    Raises:
        ValueError: as `read_xml`, or it is of another kind, CVAT's own among them.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise ValueError(f"{path} holds <{root.tag}>, not an <annotation>.{OTHERS.get(root.tag, '')}")
    return root


def text_of(element: ElementTree.Element, way: str) -> str | None:
    """The text at a path such as "size/width", without spaces around; None where there is none."""
    found = element.findtext(way)
    return found.strip() or None if found else None


def number_of(element: ElementTree.Element, way: str) -> float:
    """The number at a path.

    Raises:
        ValueError: there is none.
    """
    found = text_of(element, way)
    try:
        return float(found or "")
    except ValueError:
        raise ValueError(f"its {way} is {found!r:.40}, no number") from None
