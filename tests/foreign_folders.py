"""Small folders of annotations as other tools write them."""

import base64
import io
import json

from PIL import Image as Picture

H, W = 24, 36
SQUARE = [[4, 3], [14, 3], [14, 13], [4, 13]]

# The square as YOLO has it.
BOX = f"{9 / W} {8 / H} {10 / W} {10 / H}"


def picture(path, size=(H, W)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("RGB", size[::-1]).save(path)
    return path


def objects(files, part=""):
    """Class, box as whole numbers, pixels and crowd of each object."""
    file = files[part]
    return [
        (file.classes[a.category_id], [round(x) for x in a.extent(H, W)], int(a.mask(H, W).sum()), a.crowd)
        for found in file.objects.values()
        for a in found
    ]


def problems(files, part=""):
    """What is wrong and where."""
    return [(problem.what, problem.path.rpartition("/")[2], problem.details) for problem in files[part].problems]


def text(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words, "utf-8")
    return path


def labelme(folder, *shapes, **fields):
    picture(folder / "a.png")
    whole = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    whole |= {"imageHeight": H, "imageWidth": W, **fields}
    text(folder / "a.json", json.dumps(whole))
    return folder


def shape(points, kind="polygon", label="cell", **fields):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **fields}


def png(array):
    file = io.BytesIO()
    Picture.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def voc(path, *boxes, database="Unknown", name="a.png"):
    entries = "".join(
        f"<object><name>dog</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2, difficult in boxes
    )
    return text(
        path,
        f"<annotation><filename>{name}</filename><source><database>{database}</database></source>"
        f"<size><width>{W}</width><height>{H}</height></size>{entries}</annotation>",
    )


def coco(path, name, first=1, **fields):
    entry = {"id": first, "image_id": first, "category_id": first, "bbox": [4, 3, 10, 10], "area": 100, **fields}
    image = {"id": first, "file_name": name, "width": W, "height": H}
    category = {"id": first, "name": "cell"}
    text(path, json.dumps({"images": [image], "annotations": [entry], "categories": [category]}))
