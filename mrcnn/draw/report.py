"""A page about an evaluation, an HTML file that opens without a network: tables, curves, mistakes, worst images."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from mrcnn.data.dataset import Dataset
from mrcnn.draw.mistakes import COLORS, draw_pair
from mrcnn.evaluate.coco import KEYPOINT_METRICS, METRICS
from mrcnn.evaluate.curves import RECALLS, best_cut, calibration
from mrcnn.evaluate.mistakes import KINDS, Judgement, class_curves, confusion, gains, judge
from mrcnn.evaluate.run import Evaluated
from mrcnn.evaluate.tables import kinds_of
from mrcnn.ops.files import whole

# The page's file in its folder, and what in its beginning says that it is ours.
PAGE, GENERATOR = "index.html", "mrcnn evaluation report"

# Images that are shown, those with the most mistakes first; classes with a row of their own in the confusion matrix.
WORST, CLASSES = 20, 40

# COCO's sizes, in pixels of area: (name, letter in its metrics, from, to).
SIZES = (("small", "s", 0, 32**2), ("medium", "m", 32**2, 96**2), ("large", "l", 96**2, float("inf")))

BINS = 20


def check(folder: Path | str) -> None:
    """Look whether a folder may have a report in it: it is new, empty, or has an older one.

    Raises:
        ValueError: something else is there.
        OSError: it cannot be looked into.
    """
    folder = Path(folder)
    if not (folder.is_dir() and _is_report(folder / PAGE)) and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is there already and holds no older report; name a new folder for it.")


def _is_report(path):
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return GENERATOR.encode() in file.read(1000)


def write_report(folder: Path | str, dataset: Dataset, evaluated: Evaluated, title: str = "Evaluation") -> Path:
    """Write the page about an evaluation into a folder, which is made if need be.

    Names of classes and files come from outside and are escaped.

    Args:
        folder: the page is `PAGE` in it, and all its pictures are in the page.
        dataset: that was evaluated.
        evaluated: what `mrcnn.evaluate.evaluate_in_full` gives.
        title: of the page.

    Returns:
        the page's path.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(folder) / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    found = kinds_of(evaluated.metrics)
    sections = [_section(evaluated, name, found[name]) for name in ("box", "mask") if name in found]
    environment = Environment(
        loader=PackageLoader("mrcnn.draw", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html").render(
        title=title,
        generator=GENERATOR,
        images=len(evaluated.image_ids),
        objects=sum(not annotation["iscrowd"] for annotation in evaluated.truth.dataset["annotations"]),
        detections=len(evaluated.results),
        tables=_coco_tables(evaluated.metrics, found),
        classes=_classes(evaluated, found),
        kinds=list(found),
        sections=sections,
        colors={kind: "#" + "".join(f"{round(255 * x):02x}" for x in color) for kind, color in COLORS.items()},
        worst=_worst(dataset, evaluated, sections[-1]),
    )
    with whole(path) as new:
        # The name of a file need not be of UTF-8.
        new.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _coco_tables(metrics, found):
    """[(COCO's names, [(kind, numbers)])], keypoints in a table of their own."""
    tables = []
    for names, kinds in ((METRICS, ("box", "mask")), (KEYPOINT_METRICS, ("keypoint",))):
        rows = [(kind, [metrics[of][name] for name in names]) for kind, of in found.items() if kind in kinds]
        if rows:
            tables.append((names, rows))
    return tables


def _classes(evaluated, found):
    """[(class, its objects, AP, AP50 and AP75 of each kind)]."""
    objects = Counter(a["category_id"] for a in evaluated.truth.dataset["annotations"] if not a["iscrowd"])
    none = dict.fromkeys(("AP", "AP50", "AP75"), -1.0)
    rows = []
    for k, category in evaluated.truth.cats.items():
        per_class = [evaluated.metrics[of]["per_class"].get(category["name"], none) for of in found.values()]
        rows.append((category["name"], objects[k], [value for numbers in per_class for value in numbers.values()]))
    return rows


def _section(evaluated: Evaluated, name: str, kind: str) -> dict[str, Any]:
    """What the page says of boxes or of masks."""
    given = evaluated.truth, evaluated.results, evaluated.image_ids, kind, evaluated.max_detections
    judged, strict = judge(*given), judge(*given, enough=0.75)
    positives = sum(judged.positives.values())
    cut, f1 = best_cut(judged.scores, judged.correct, positives)
    shown = [entry for entry in evaluated.results if entry["score"] >= cut]
    sure = judge(evaluated.truth, shown, evaluated.image_ids, kind, evaluated.max_detections)
    names = ["background", *(category["name"] for category in evaluated.truth.cats.values())]
    rises, counts, sure_counts = gains(judged), judged.counts(), sure.counts()
    return {
        "name": name,
        "cut": cut,
        "f1": f1,
        "curves": _curves(judged, strict, names),
        "mistakes": [(mistake, counts[mistake], sure_counts[mistake], rises[mistake]) for mistake in KINDS],
        "correct": (int(judged.correct.sum()), int(sure.correct.sum())),
        "sizes": _sizes(evaluated, kind),
        "confusion": _confusion(confusion(sure, len(names)), names),
        "scores": _histogram(judged),
        "calibration": _calibration(judged),
        "judged": sure,
    }


def _curves(judged, strict, names):
    """Lines of a chart: those of the classes at IoU 0.5, then their means at 0.5 and 0.75."""
    by_class, stricter = class_curves(judged), class_curves(strict)
    lines = [
        {"name": f"{names[k]}, AP50 {curve.mean():.3f}", "points": _points(RECALLS, curve), "hue": 137.5 * i % 360}
        for i, (k, curve) in enumerate(by_class.items())
    ]
    for curves, iou in ((by_class, "0.50"), (stricter, "0.75")):
        if curves:
            mean = np.mean(list(curves.values()), axis=0)
            name = f"mean, IoU {iou}: AP {mean.mean():.3f}"
            lines.append({"name": name, "points": _points(RECALLS, mean), "mean": iou})
    return lines


def _points(x, y):
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True) if np.isfinite(b)]


def _sizes(evaluated, kind):
    """[(size, its objects, AP, AR)]."""
    areas = [annotation["area"] for annotation in evaluated.truth.dataset["annotations"] if not annotation["iscrowd"]]
    numbers = evaluated.metrics[kind]
    return [
        (name, sum(low <= area < high for area in areas), numbers[f"AP{letter}"], numbers[f"AR{letter}"])
        for name, letter, low, high in SIZES
    ]


def _confusion(table, names):
    """The names of classes and rows of (count, share of the row); those least confused with others are put together."""
    confused = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    order = 1 + np.argsort(-confused[1:], kind="stable")
    chosen, rest = np.sort(order[:CLASSES]), order[CLASSES:]
    groups = [np.array([0]), *(np.array([k]) for k in chosen), *([rest] if len(rest) else [])]
    labels = [names[0], *(names[k] for k in chosen), *(["other classes"] if len(rest) else [])]
    counts = np.array([[table[np.ix_(row, column)].sum() for column in groups] for row in groups])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return labels, [list(zip(*row, strict=True)) for row in zip(counts.tolist(), shares.tolist(), strict=True)]


def _histogram(judged):
    """Bars (x, width, low, height, kind, count) of a chart whose sides are 1, and the count that is its height."""
    edges = np.linspace(0, 1, BINS + 1)
    right, wrong = (np.histogram(judged.scores[chosen], edges)[0] for chosen in (judged.correct, ~judged.correct))
    top = max(int((right + wrong).max()), 1)
    bars = []
    for x, good, bad in zip(edges, right.tolist(), wrong.tolist(), strict=False):
        bars += [(x, 1 / BINS, 0, good / top, "correct", good), (x, 1 / BINS, good / top, bad / top, "wrong", bad)]
    return {"bars": bars, "top": top}


def _calibration(judged):
    mean, share, error = calibration(judged.scores, judged.correct)
    return {"points": _points(mean, share), "error": error}


def _worst(dataset, evaluated, section):
    """The images with the most mistakes: their names, how many of each kind, and two pictures."""
    sure: Judgement = section["judged"]
    wrong: dict[int, Counter[str]] = {}
    for entry, kind in zip(sure.found, sure.kinds, strict=True):
        if kind != "correct":
            wrong.setdefault(entry["image_id"], Counter())[str(kind)] += 1
    for truth in sure.missed:
        wrong.setdefault(truth["image_id"], Counter())["missed"] += 1
    order = sorted(wrong, key=lambda image_id: (-wrong[image_id].total(), image_id))[:WORST]
    names = ["background", *(category["name"] for category in evaluated.truth.cats.values())]
    return [
        {
            "name": _name(dataset, image_id - 1),
            "counts": [(kind, wrong[image_id][kind]) for kind in KINDS if wrong[image_id][kind]],
            "pictures": _pictures(dataset, evaluated, sure, image_id, names, section["name"] == "mask"),
        }
        for image_id in order
    ]


def _name(dataset, i):
    info = dataset.image_info[i]
    return Path(info["path"]).name if info["path"] else str(info["id"])


def _pictures(dataset, evaluated, sure, image_id, names, masks):
    """Two data URIs; none where the image cannot be read."""
    try:
        image = dataset.load_image(image_id - 1)
    except (OSError, ValueError):
        return []
    truths = [a for a in evaluated.truth.imgToAnns.get(image_id, []) if not a["iscrowd"]]
    unfound = {truth["id"] for truth in sure.unfound}
    chosen = [i for i, entry in enumerate(sure.found) if entry["image_id"] == image_id]
    found, kinds = [sure.found[i] for i in chosen], [str(sure.kinds[i]) for i in chosen]
    return [_uri(picture) for picture in draw_pair(image, truths, unfound, found, kinds, names, masks)]


def _uri(picture):
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode("ascii")
