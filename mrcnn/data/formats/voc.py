"""PASCAL VOC's format (http://host.robots.ox.ac.uk/pascal/VOC): boxes in an XML file for each image, as LabelImg writes
them too, and masks in a PNG whose numbers are the objects' in the XML file.

What is "difficult" is a region that does not count. Files of VOC and of supervision count pixels from 1 and name the
last one; all others are read as they are, edges from 0 on. Polygons are those of Roboflow and supervision, attributes
those of CVAT. Files of MIT's LabelMe (https://github.com/CSAILVision/LabelMeAnnotationTool), which CVAT writes too,
have a polygon of points, or a mask in the folder `Masks`, in the place of a box.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image as Picture

from mrcnn.data.coco_entries import short
from mrcnn.data.coco_file import CocoFile
from mrcnn.data.formats.door import PARTS, Door, find_image, lines_of, part_folders
from mrcnn.data.formats.placing import Placer, plain
from mrcnn.data.formats.xml_files import number_of, read_annotation, text_of
from mrcnn.data.mask_files import read_labels, read_mask
from mrcnn.data.reading import path_within
from mrcnn.ops.files import whole
from mrcnn.ops.masks import encode_rle

OBJECTS, CLASSES = "SegmentationObject", "SegmentationClass"

# Beginnings of the names of data sets that count pixels from 1.
FROM_ONE = ("The VOC", "roboflow.ai")

# Folders of what is known of an image, and the endings of its files.
KINDS = {"Annotations": ".xml", OBJECTS: ".png"}

# The order of the palette in the PNG files of classes.
VOC_CLASSES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor""".split()

# The number of pixels that are of no object.
VOID = 255

# What an object may be, 0 or 1, and what VOC has where nobody said from which side it is seen.
OWN, UNSPECIFIED = ("truncated", "occluded"), "Unspecified"

# Height and width of the image, as VOC and as MIT's LabelMe have them.
SIZES = ("size/height", "size/width"), ("imagesize/nrows", "imagesize/ncols")

# Added to R + 256 G + 65536 B for the number of a colour that is not in the palette.
OTHER = 1 << 24


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format."""
    found = (folder / "Annotations").rglob("[!.]*.xml"), *(x.glob("[!.]*.xml") for x in (folder, *part_folders(folder)))
    return (folder / OBJECTS).is_dir() or any(next(paths, None) for paths in found)


def read(door: Door) -> None:
    """Reads the folder of the door."""
    folder = door.folder
    if not (folder / "Annotations").is_dir() and not (folder / OBJECTS).is_dir():
        for home in door.parts():
            for path in sorted(home.glob("[!.]*.xml")):
                _read_image(door, path, {})
        return
    names = _class_numbers(folder)
    door.list_classes(name for number, name in names.items() if number not in (0, VOID))
    for part, stems in _parts(folder).items():
        door.begin(part)
        for stem in stems:
            _read_image(door, folder / "Annotations" / f"{stem}.xml", names, stem)


def _parts(folder):
    """Names of images, with those of folders that CVAT keeps within, by the parts of a set, as the lists in ImageSets
    have them; all in one without lists."""
    for sub in (*["Segmentation"] * (folder / OBJECTS).is_dir(), "Main"):
        lists = {path.stem.lower(): path for path in sorted((folder / "ImageSets" / sub).glob("[!.]*.txt"))}
        found = {
            part: list(dict.fromkeys(_stem(folder, line) for line in lines_of(lists[name]) if line))
            for name, part in PARTS.items()
            if name in lists
        }
        if found:
            return found
    homes = [(folder / sub, ending) for sub, ending in KINDS.items()]
    stems = {path.relative_to(home).with_suffix("") for home, end in homes for path in home.rglob(f"[!.]*{end}")}
    return {"": sorted(stem.as_posix() for stem in stems)}


def _stem(folder, line):
    """The name in a line of a list; lists of a class have 1, 0 or -1 behind it."""
    there = any(os.path.isfile(folder / sub / f"{line}{ending}") for sub, ending in KINDS.items())
    return line if there else re.sub(r"\s+-?[01]$", "", line)


def _read_image(door, path, names, stem=""):
    """An image by its XML file, by its PNG files, or by both."""
    root = ElementTree.Element("annotation")
    objects = door.folder / OBJECTS / f"{stem or path.stem}.png"
    if path.is_file() or not objects.is_file():
        try:
            root = read_annotation(path)
        except FileNotFoundError:
            door.note(path, "labels missing")
            return
        except ValueError as error:
            door.note(path, "annotation file that cannot be used", str(error))
            return
    picture = find_image(door, path, text_of(root, "filename"))
    if picture is None:
        return
    try:
        height, width = (round(number_of(root, way)) for way in SIZES[root.find("imagesize") is not None])
        said = height, width
    except (ValueError, OverflowError):
        said = None
    image_id = door.add_image(picture, said)
    if image_id is None:
        return
    masks, classes = _read_masks(objects, door, image_id, names) if objects.is_file() else ({}, {})
    first = int((text_of(root, "source/database") or "").startswith(FROM_ONE))
    for k, entry in enumerate(root.findall("object"), 1):
        if text_of(entry, "deleted") == "1":
            continue
        name = text_of(entry, "name")
        fields: dict[str, Any] = {"attributes": _read_attributes(entry)}
        # CVAT numbers painted masks and boxes each by themselves.
        if k in masks and not (names and classes.get(k, name) != name):
            fields["segmentation"] = encode_rle(masks.pop(k))
        difficult = text_of(entry, "difficult") or "0"
        fields["iscrowd"] = int(difficult == "1")
        if difficult not in ("0", "1"):
            door.note(path, "difficult that is not 0 or 1", f"object {k}: {short(difficult)}")
        labelme = entry.find("bndbox") is None and _is_labelme(entry)
        try:
            if labelme:
                fields |= _read_labelme(entry, door, path, door.file.images[image_id])
            else:
                fields["bbox"] = _read_box(entry, first)
                polygons = [_read_polygon(polygon, first) for polygon in entry.findall("polygon")]
                fields = {"segmentation": polygons, **fields}
        except (OSError, ValueError) as error:
            what = "region that cannot be used" if labelme else "bbox that cannot be read"
            door.note(path, what, f"object {k}: {error}")
            if labelme:
                continue
        door.add_object(image_id, name, path, f"object {k}", **fields)
    for k, mask in masks.items():
        door.add_object(image_id, classes.get(k), objects, f"object {k}", segmentation=encode_rle(mask))


def _read_box(entry, first):
    """x, y, width, height; the number of the first pixel is 0 or 1."""
    x1, y1, x2, y2 = (number_of(entry, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    x1, y1 = x1 - first, y1 - first
    return [x1, y1, x2 - x1, y2 - y1]


def _read_polygon(polygon, first):
    """x1, y1, x2 ... of elements that are called so."""
    return [number_of(polygon, point.tag) - first for point in polygon if re.fullmatch(r"[xy]\d+", point.tag)]


def _is_labelme(entry):
    """Whether MIT's LabelMe drew the object."""
    return entry.find("polygon/pt") is not None or entry.find("segm/mask") is not None


def _read_labelme(entry, door, path, image):
    """Fields of an object that is a polygon, a box by its corners, or a mask in a file."""
    name = text_of(entry, "segm/mask")
    if name:
        # Beside the XML file, or as its folder in `Annotations`.
        homes = [path.parent / "Masks", Path(*("Masks" if x == "Annotations" else x for x in path.parent.parts))]
        found = [path_within(home, name, door.outside) for home in homes]
        mask = read_mask(next(filter(os.path.isfile, found), found[0]), (image.height, image.width))
        return {"segmentation": encode_rle(mask)}
    points = [number_of(point, axis) for point in entry.findall("polygon/pt") for axis in "xy"]
    if text_of(entry, "type") != "bounding_box":
        return {"segmentation": [points]}
    xs, ys = points[::2], points[1::2]
    return {"bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]}


def _read_attributes(entry):
    """What an object is said to be beside its class and "difficult"."""
    found: dict[str, Any] = {name: True for name in OWN if text_of(entry, name) in ("1", "yes")}
    pose = text_of(entry, "pose")
    if pose and pose != UNSPECIFIED:
        found["pose"] = pose
    for attribute in entry.findall("attributes/attribute"):
        name, value = text_of(attribute, "name"), text_of(attribute, "value")
        if name and value:
            found[name] = _value(value)
    for word in (text_of(entry, "attributes") or "").split(","):  # of MIT's LabelMe, in words
        name, _, value = (x.strip() for x in word.partition("="))
        if name:
            found[name] = _value(value) if value else True
    return found


def _value(text):
    """What a text stands for that Python wrote of it."""
    values: dict[str, Any] = {"True": True, "False": False}
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            values.setdefault(str(kind(text)), kind(text))
    return values.get(text, text)


def _read_masks(path, door, image_id, names):
    """Masks by the objects' numbers, and the names of their classes as far as a PNG file of classes says them."""
    image = door.file.images[image_id]
    size = image.height, image.width
    try:
        labels = read_labels(path, size, _in_palette)
        path = door.folder / CLASSES / path.relative_to(door.folder / OBJECTS)
        kinds = read_labels(path, size, _in_palette) if path.is_file() else None
    except (OSError, ValueError) as error:
        door.note(path, "labels that cannot be used", str(error))
        return {}, {}
    masks = {int(k): labels == k for k in np.unique(labels) if k not in (0, VOID)}
    classes = {}
    for k, mask in masks.items():
        if kinds is not None:
            values, counts = np.unique(kinds[mask], return_counts=True)
            classes[k] = (names or dict(enumerate(VOC_CLASSES, 1))).get(int(values[counts.argmax()]))
    return masks, classes


def _in_palette(pixels):
    """The numbers [H, W] that colours [H, W, 3 or 4] have in VOC's palette."""
    colours, places = np.unique(_numbers(pixels[..., :3]), return_inverse=True)
    known = {colour: i for i, colour in enumerate(_numbers(palette()).tolist())}
    return np.array([known.get(x, OTHER + x) for x in colours.tolist()])[places].reshape(pixels.shape[:2])


def _numbers(colours):
    """R + 256 G + 65536 B of colours [..., 3]."""
    return colours.astype(int) @ (1, 256, 65536)


def _class_numbers(folder):
    """Names by the numbers of pixels: as labelmap.txt has them (name:R,G,B:parts:actions), or in the order of
    class_names.txt; none without these files."""
    mapped, listed = folder / "labelmap.txt", folder / "class_names.txt"
    if not mapped.is_file():
        lines = lines_of(listed) if listed.is_file() else []
        names = [line for line in lines if line and line not in ("__ignore__", "_background_")]
        return dict(enumerate(names, 1))
    found = {}
    known = {colour: i for i, colour in enumerate(_numbers(palette()).tolist())}
    for line in lines_of(mapped):
        entry = re.fullmatch(r"(.+?):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?", line)  # a name may have colons
        if entry:
            number = int(_numbers(np.array([int(x) for x in entry.groups()[1:4]])))
            found[known.get(number, OTHER + number)] = entry[1]
    return found


def palette() -> np.ndarray:
    """VOC's colours [256, 3] uint8: the bits of a number, three at a time from the lowest, are the bits of R, G, B from
    the highest."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), int)
    for k in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * k + channel)) & 1) << (7 - k)
    return colours.astype("uint8")


def write(files: dict[str, CocoFile], folder: Path, placer: Placer) -> Counter[str]:
    """Writes XML files, PNG files where there are masks, and images; what this format cannot hold, counted."""
    lost: Counter[str] = Counter()
    for sub in ("Annotations", "ImageSets/Main"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    masked = any(a.has_mask() for file in files.values() for found in file.objects.values() for a in found)
    called = {name: plain(name, lost) for name in {x for file in files.values() for x in file.classes.values()}}
    classes = list(dict.fromkeys(called[name] for file in files.values() for name in file.classes.values()))
    _write_classes(folder, classes, masked)
    for part, file in files.items():
        stems = []
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / "JPEGImages")
            stems.append(picture.stem)
            objects = file.objects.get(image_id, [])
            names = [called[file.classes[annotation.category_id]] for annotation in objects]
            root = _tree(picture.name, image, objects, names, lost)
            with whole(folder / "Annotations" / f"{picture.stem}.xml") as new:
                ElementTree.ElementTree(root).write(new, "utf-8")
            for what, name in (("keypoints", "keypoints"), ("scores", "score"), ("tracks", "track_id")):
                lost[what] += sum(getattr(a, name) is not None for a in objects)
            if masked:
                _write_masks(folder, picture.stem, image, objects, [classes.index(x) + 1 for x in names], lost)
        if part:
            for sub in ("Main", *(["Segmentation"] if masked else [])):
                with whole(folder / "ImageSets" / sub / f"{part}.txt") as new:
                    new.write_text("".join(f"{stem}\n" for stem in stems), "utf-8")
    return lost


def _tree(name, image, objects, names, lost):
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    ElementTree.SubElement(root, "segmented").text = str(int(any(a.has_mask() for a in objects)))
    for annotation, label in zip(objects, names, strict=True):
        x, y, w, h = annotation.extent(image.height, image.width)
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = label
        more = dict(annotation.attributes or {})
        ElementTree.SubElement(entry, "pose").text = plain(str(more.pop("pose", UNSPECIFIED)), lost, "attributes")
        for tag in OWN:
            ElementTree.SubElement(entry, tag).text = str(int(more.pop(tag, False) in (True, 1)))
        ElementTree.SubElement(entry, "difficult").text = str(int(annotation.crowd))
        box = ElementTree.SubElement(entry, "bndbox")
        for tag, value in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
            ElementTree.SubElement(box, tag).text = f"{value:.12g}"
        if more:
            every = ElementTree.SubElement(entry, "attributes")
        for pair in more.items():
            attribute = ElementTree.SubElement(every, "attribute")
            for tag, value in zip(("name", "value"), pair, strict=True):
                ElementTree.SubElement(attribute, tag).text = plain(str(value), lost, "attributes")
    ElementTree.indent(root)
    return root


def _write_classes(folder, classes, masked):
    for sub in (OBJECTS, CLASSES, "ImageSets/Segmentation") if masked else ():
        (folder / sub).mkdir(parents=True, exist_ok=True)
    lines = [f"{name}:{','.join(map(str, palette()[i]))}::" for i, name in enumerate(["background", *classes][:255])]
    with whole(folder / "labelmap.txt") as new:
        new.write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n", "utf-8")


def _write_masks(folder, stem, image, objects, class_numbers, lost):
    """The two PNG files of an image; small objects lie on large ones."""
    numbers, kinds = np.zeros((2, image.height, image.width), "uint8")
    masks = {k: a.mask(image.height, image.width) for k, a in enumerate(objects, 1) if a.has_mask()}
    for k, mask in sorted(masks.items(), key=lambda item: -item[1].sum()):
        if k > 254 or class_numbers[k - 1] > 254:
            lost["masks of more than 254 objects or classes"] += 1
            continue
        lost["overlaps of masks"] += bool(numbers[mask].any())
        lost["masks without a pixel"] += not mask.any()
        numbers[mask], kinds[mask] = k, class_numbers[k - 1]
    for sub, values in ((OBJECTS, numbers), (CLASSES, kinds)):
        picture = Picture.fromarray(values)
        picture.putpalette(palette().tobytes())
        with whole(folder / sub / f"{stem}.png") as new:
            picture.save(new)
