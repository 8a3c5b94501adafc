"""Tables of what `evaluate` returns."""

from __future__ import annotations

from typing import Any

from mrcnn.evaluate.coco import KEYPOINT_METRICS, METRICS
from mrcnn.evaluate.frequency import GROUPS

# What is evaluated: name in tables and logs -> pycocotools' name.
KINDS = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}

# Of the classes of pixels.
PIXELS = ("mIoU", "accuracy")


def format_table(metrics: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` returns as a table: a row for boxes and one for masks; keypoints, and the classes of pixels, in
    tables of their own; "-" where there is nothing to measure."""
    tables = []
    for names, kinds in ((METRICS, ("box", "mask")), (KEYPOINT_METRICS, ("keypoint",))):
        rows = {row: [metrics[kind][name] for name in names] for row, kind in kinds_of(metrics).items() if row in kinds}
        if rows:
            tables.append(_table(names, rows))
    if "semantic" in metrics:
        tables.append(_table(PIXELS, {"pixels": [metrics["semantic"][name] for name in PIXELS]}))
    return "\n".join(tables)


def format_classes(metrics: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` returns for every class as a table: AP, AP50 and AP75 of boxes, masks and keypoints, and the IoU
    of its pixels."""
    kinds = kinds_of(metrics)
    rows: dict[str, list[float]] = {name: [] for name in metrics[next(iter(kinds.values()))]["per_class"]}
    for kind in kinds.values():
        for name, row in rows.items():
            row.extend(metrics[kind]["per_class"].get(name, dict.fromkeys(("AP", "AP50", "AP75"), -1)).values())
    titles = [f"{kind} {name}" for kind in kinds for name in ("AP", "AP50", "AP75")]
    if "semantic" in metrics:
        ious = {name: x["IoU"] for name, x in metrics["semantic"]["per_class"].items()}
        rows = {name: [*rows.get(name, [-1] * len(titles)), iou] for name, iou in ious.items()}
        titles.append("IoU")
    return _table(titles, rows)


def format_groups(metrics: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` returns of PASCAL VOC's AP and of classes by their frequency, as tables; "" for neither."""
    tables = []
    if "voc" in metrics.get("bbox", {}):
        tables.append(_table(("AP11", "AP"), {"VOC": [metrics["bbox"]["voc"][name] for name in ("AP11", "AP")]}))
    rows = {row: metrics[kind]["frequency"] for row, kind in kinds_of(metrics).items() if "frequency" in metrics[kind]}
    if rows:
        tables.append(_table(tuple(GROUPS), {row: [numbers[name] for name in GROUPS] for row, numbers in rows.items()}))
    return "\n".join(tables)


def kinds_of(metrics: dict[str, Any]) -> dict[str, str]:
    """The kinds that `evaluate` gave numbers for: name in tables -> pycocotools' name."""
    return {name: kind for name, kind in KINDS.items() if kind in metrics}


def _table(titles, rows):
    first, width = max(map(len, rows)), max(4, *map(len, titles)) + 2
    lines = [" " * first + "".join(f"{title:>{width}}" for title in titles)]
    for name, values in rows.items():
        lines.append(
            f"{name:<{first}}" + "".join(f"{'-' if value < 0 else f'{value:.3f}':>{width}}" for value in values)
        )
    return "\n".join(lines)
