"""A file of the VGG Image Annotator with any field replaced: all that is done with it ends with the right result or one
line."""

import json

import PIL.Image
import pytest
from fuzz import DELETED, files, places, use

from mrcnn.data.via import ViaDataset

GOOD = {
    "11.png99": {
        "filename": "11.png",
        "size": 99,
        "regions": [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [2, 12, 12, 2],
                    "all_points_y": [3, 3, 13, 13],
                },
                "region_attributes": {"kind": "cat"},
            },
            {
                "shape_attributes": {"name": "rect", "x": 20, "y": 5, "width": 10, "height": 20},
                "region_attributes": {"kind": "dog"},
            },
        ],
        "file_attributes": {},
    },
    "12.png99": {
        "filename": "12.png",
        "size": 99,
        "regions": {
            "0": {
                "shape_attributes": {"name": "circle", "cx": 10, "cy": 12, "r": 8},
                "region_attributes": {"kind": {"cat": True}},
            },
            "1": {
                "shape_attributes": {"name": "ellipse", "cx": 28, "cy": 14, "rx": 6, "ry": 10, "theta": 0.1},
                "region_attributes": {"kind": "cat"},
            },
        },
        "file_attributes": {},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("via")
    for i in (11, 12):
        PIL.Image.new("RGB", (40, 32), (i, i, i)).save(folder / f"{i}.png")
    return folder


def used(folder, text):
    path = folder / "via_region_data.json"
    path.write_text(text)

    def load():
        dataset = ViaDataset()
        dataset.load_via(folder, attribute="kind", classes=["cat", "dog"])
        dataset.prepare()
        return dataset

    return use(load, folder)


def may_be(path, value):
    """Whether a value is as good as the one that was there, for all that one can know."""
    if path[-1] in ("size", "file_attributes", "theta") or path[1:2] in (("size",), ("file_attributes",)):
        return True
    if value is DELETED or value in ([], {}, None):  # no region, of an image or at all
        return len(path) == 1 or path[-1] == "regions" or path[-2] == "regions"
    return path[2:3] and path[3:4] and isinstance(value, (int, float)) and "shape_attributes" in path


@pytest.mark.parametrize("path", list(places(GOOD)), ids=lambda path: ".".join(map(str, path)))
def test_any_field(folder, path):
    good, none = used(folder, json.dumps(GOOD))
    assert none == [] and {pixel: len(found) for pixel, found in good.items()} == {11: 2, 12: 2}
    for value, text in files(GOOD, path):
        found, problems = used(folder, text)
        assert problems is not None, (value, found)
        other = 12 if path[0].startswith("11") else 11
        assert found[other] == good[other], value
        assert found == good or problems or may_be(path, value), value
