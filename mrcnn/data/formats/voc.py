"""PASCAL VOC's format (http://host.robots.ox.ac.uk/pascal/VOC): boxes in an XML file for each image, as LabelImg writes
them too, and masks in a PNG whose numbers are the objects' in the XML file.

What is "difficult" is a region that does not count. VOC's own files count pixels from 1 and name the last one; all
others are read as they are, edges from 0 on.
"""

from __future__ import annotations

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
from mrcnn.data.formats.door import Door, find_image, lines_of, part_folders
from mrcnn.data.formats.placing import Placer, plain
from mrcnn.data.formats.xml_files import number_of, read_xml, text_of
from mrcnn.data.mask_files import read_labels
from mrcnn.ops.files import whole
from mrcnn.ops.masks import encode_rle

OBJECTS, CLASSES = "SegmentationObject", "SegmentationClass"

# Folders of what is known of an image, and the endings of its files.
KINDS = {"Annotations": ".xml", OBJECTS: ".png"}

# The order of the palette in the PNG files of classes.
VOC_CLASSES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor""".split()

# The number of pixels that are of no object.
VOID = 255

# Added to R + 256 G + 65536 B for the number of a colour that is not in the palette.
OTHER = 1 << 24


def recognises(folder: Path, keys: set[str]) -> bool:
    """Whether a folder is in this format."""
    subs = (folder, folder / "Annotations", *part_folders(folder))
    return (folder / OBJECTS).is_dir() or any(next(sub.glob("[!.]*.xml"), None) for sub in subs)


def read(door: Door) -> None:
    """Reads the folder of the door."""
    folder = door.folder
    if not (folder / "Annotations").is_dir() and not (folder / OBJECTS).is_dir():
        for home in door.parts():
            for path in sorted(home.glob("[!.]*.xml")):
                _read_image(door, path, {})
        return
    names = _class_numbers(folder)
    for part, stems in _parts(folder).items():
        door.begin(part)
        for stem in stems:
            _read_image(door, folder / "Annotations" / f"{stem}.xml", names)


def _parts(folder):
    """Names of images by the parts of a set, as the lists in ImageSets have them; all in one without lists."""
    lists = folder / "ImageSets" / ("Segmentation" if (folder / OBJECTS).is_dir() else "Main")
    if not lists.is_dir():
        lists = folder / "ImageSets" / "Main"
    found = {}
    for part in ("train", "val", "test"):
        path = lists / f"{part}.txt"
        if path.is_file():
            found[part] = list(dict.fromkeys(_stem(folder, line) for line in lines_of(path) if line))
    if found:
        return found
    stems = {path.stem for sub, ending in KINDS.items() for path in (folder / sub).glob(f"[!.]*{ending}")}
    return {"": sorted(stems)}


def _stem(folder, line):
    """The name in a line of a list; lists of a class have 1, 0 or -1 behind it."""
    there = any(os.path.isfile(folder / sub / f"{line}{ending}") for sub, ending in KINDS.items())
    return line if there else re.sub(r"\s+-?[01]$", "", line)


def _read_image(door, path, names):
    """An image by its XML file, by its PNG files, or by both."""
    root = ElementTree.Element("annotation")
    objects = door.folder / OBJECTS / f"{path.stem}.png"
    if path.is_file() or not objects.is_file():
        try:
            root = read_xml(path)
            if root.tag != "annotation":
                raise ValueError(f"{path} holds <{root.tag}>, not an <annotation>.")
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
        said = round(number_of(root, "size/height")), round(number_of(root, "size/width"))
    except (ValueError, OverflowError):
        said = None
    image_id = door.add_image(picture, said)
    if image_id is None:
        return
    masks, classes = _read_masks(door, path.stem, image_id, names) if objects.is_file() else ({}, {})
    entries = root.findall("object")
    by_voc = (text_of(root, "source/database") or "").startswith("The VOC")
    for k, entry in enumerate(entries, 1):
        fields: dict[str, Any] = {"segmentation": encode_rle(masks.pop(k))} if k in masks else {}
        difficult = text_of(entry, "difficult") or "0"
        fields["iscrowd"] = int(difficult == "1")
        if difficult not in ("0", "1"):
            door.note(path, "difficult that is not 0 or 1", f"object {k}: {short(difficult)}")
        try:
            fields["bbox"] = _read_box(entry, by_voc)
        except ValueError as error:
            door.note(path, "bbox that cannot be read", f"object {k}: {error}")
        door.add_object(image_id, text_of(entry, "name"), path, f"object {k}", **fields)
    for k, mask in masks.items():
        door.add_object(image_id, classes.get(k), objects, f"object {k}", segmentation=encode_rle(mask))


def _read_box(entry, by_voc):
    """x, y, width, height."""
    x1, y1, x2, y2 = (number_of(entry, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    if by_voc:
        x1, y1 = x1 - 1, y1 - 1
    return [x1, y1, x2 - x1, y2 - y1]


def _read_masks(door, stem, image_id, names):
    """Masks by the objects' numbers, and the names of their classes as far as a PNG file of classes says them."""
    image = door.file.images[image_id]
    size = image.height, image.width
    try:
        path = door.folder / OBJECTS / f"{stem}.png"
        labels = read_labels(path, size, _in_palette)
        path = door.folder / CLASSES / f"{stem}.png"
        kinds = read_labels(path, size, _in_palette) if path.is_file() else None
    except (OSError, ValueError) as error:
        door.note(path, "labels that cannot be used", str(error))
        return {}, {}
    masks = {int(k): labels == k for k in np.unique(labels) if k not in (0, VOID)}
    classes = {}
    for k, mask in masks.items():
        if kinds is not None:
            values, counts = np.unique(kinds[mask], return_counts=True)
            classes[k] = names.get(int(values[counts.argmax()]))
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
    class_names.txt, or else of VOC."""
    mapped, listed = folder / "labelmap.txt", folder / "class_names.txt"
    if not mapped.is_file():
        lines = lines_of(listed) if listed.is_file() else []
        names = [line for line in lines if line and line not in ("__ignore__", "_background_")]
        return dict(enumerate(names or VOC_CLASSES, 1))
    found = {}
    known = {colour: i for i, colour in enumerate(_numbers(palette()).tolist())}
    for line in lines_of(mapped):
        name, _, rest = line.partition(":")
        colour = rest.partition(":")[0].split(",")
        if not name.startswith("#") and len(colour) == 3 and all(x.strip().isdecimal() for x in colour):
            number = int(_numbers(np.array([int(x) for x in colour])))
            found[known.get(number, OTHER + number)] = name
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
    if masked:
        _write_classes(folder, classes)
    for part, file in files.items():
        stems = []
        for image_id, image in file.images.items():
            picture = placer.place(image, folder / "JPEGImages")
            stems.append(picture.stem)
            objects = file.objects.get(image_id, [])
            names = [called[file.classes[annotation.category_id]] for annotation in objects]
            root = _tree(picture.name, image, objects, names)
            with whole(folder / "Annotations" / f"{picture.stem}.xml") as new:
                ElementTree.ElementTree(root).write(new, "utf-8")
            lost["keypoints"] += sum(annotation.keypoints is not None for annotation in objects)
            if masked:
                _write_masks(folder, picture.stem, image, objects, [classes.index(x) + 1 for x in names], lost)
        if part:
            for sub in ("Main", *(["Segmentation"] if masked else [])):
                with whole(folder / "ImageSets" / sub / f"{part}.txt") as new:
                    new.write_text("".join(f"{stem}\n" for stem in stems), "utf-8")
    return lost


def _tree(name, image, objects, names):
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
        ElementTree.SubElement(entry, "difficult").text = str(int(annotation.crowd))
        box = ElementTree.SubElement(entry, "bndbox")
        for tag, value in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
            ElementTree.SubElement(box, tag).text = f"{value:.12g}"
    ElementTree.indent(root)
    return root


def _write_classes(folder, classes):
    for sub in (OBJECTS, CLASSES, "ImageSets/Segmentation"):
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
