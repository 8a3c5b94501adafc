"""Files with one field replaced by what it cannot be, and what must become of a data set, an evaluation and a training:
the right result, or one line."""

import copy
import functools
import json
import math

import numpy as np
import pytest
from squares import Model

from mrcnn.config import Config
from mrcnn.data.batches import DataGenerator
from mrcnn.data.problems import format_problems
from mrcnn.data.remarks import remarks
from mrcnn.evaluate import evaluate
from mrcnn.ops.masks import extract_bboxes

USED: dict = {}
DELETED = object()
BAD = [
    *(None, True, "", "abc", "7", "\ud800\n", [], [[[1]]], [None], ["a"], {}, {"a": 1}),
    *(-1, 0, 2.5, 2**70, 10**6, 1e308, math.nan, math.inf, -math.inf),
    DELETED,
]


def places(value, path=()):
    """Paths of all fields, at every depth; of lists of numbers the first and the last alone."""
    if path:
        yield path
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        flat = bool(value) and all(isinstance(x, (int, float)) for x in value)
        keys = sorted({0, len(value) - 1}) if flat else range(len(value))
    else:
        keys = []
    for key in keys:
        yield from places(value[key], (*path, key))


def changed(content, path, value):
    """The content with another value at a path."""
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    if value is DELETED:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return content


def files(content, path):
    """(value, text of the JSON) for each bad value at a path."""
    for value in BAD:
        yield value, json.dumps(changed(content, path, value))


def is_line(text, *names):
    """Whether a message is one line and names one of the files or settings."""
    return "\n" not in text.strip() and any(str(name) in text for name in names)


class FuzzConfig(Config):
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 3
    BACKBONE = "resnet18"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MAX_GT_INSTANCES = 4
    TRAIN_ROIS_PER_IMAGE = 8
    USE_MINI_MASK = False


def seen(dataset, image_id):
    """What `load_mask` gives that has a pixel."""
    masks, class_ids = dataset.load_mask(image_id)
    some = masks.any(axis=(0, 1))
    return masks[..., some], class_ids[some]


def objects(dataset):
    """By the first pixel of the picture, its objects: {(class name, crowd, mask's bytes)}."""
    found = {}
    for i in dataset.image_ids:
        masks, class_ids = seen(dataset, i)
        names = [(str(dataset.class_info[abs(c)]["name"]), c < 0) for c in class_ids]
        codes = [np.packbits(masks[..., k]).tobytes() for k in range(len(class_ids))]
        found[_pixel(dataset, i)] = {(*name, code) for name, code in zip(names, codes, strict=True)}
    return found


@functools.cache
def config(classes):
    return FuzzConfig().update(NUM_CLASSES=max(2, classes))


def use(load, name, exact=True):
    """Load a set, have it checked, train on it and evaluate it with perfect detections in place of the network's.

    Args:
        load: gives the prepared set.
        name: of the file, which every line of refusal must have.
        exact: whether perfect detections must score 1; a box that is a pixel too large is nobody's mistake.

    Returns:
        the line and None; or `objects` and what `validate` finds.
    """
    try:
        dataset = load()
    except (ValueError, OSError) as error:
        assert is_line(str(error), name), repr(error)
        return str(error), None
    # All that follows reads these records alone, and most files have the same.
    records = repr((dataset.image_info, dataset.class_info))
    problems = dataset.validate(verbose=0)
    assert all(problem.remedy for problem in problems), problems
    format_problems(problems, 1).encode()
    exact = exact and not any(p.what in ("file missing", "image of another size than annotated") for p in problems)
    state = records, exact, any(p.what == "object without a mask" for p in problems)
    if state not in USED:
        _train(dataset)
        _evaluate(dataset, *state[1:])
        USED[state] = objects(dataset)
    return USED[state], problems


def _pixel(dataset, image_id):
    try:
        return int(dataset.load_image(image_id)[0, 0, 0])
    except (OSError, ValueError):
        return -1


def _train(dataset):
    """The batches of an epoch hold what `load_mask` gives."""
    settings = config(dataset.num_classes)
    assert all("\n" not in remark for remark in remarks(dataset, settings))
    generator = DataGenerator(dataset, settings, shuffle=False)
    try:
        batches = [generator[k][0] for k in range(len(generator))]
    except RuntimeError as error:  # more than a fifth of the images
        assert is_line(str(error), *(info["path"] for info in dataset.image_info)), repr(error)
        return
    assert all(np.isfinite(value).all() for batch in batches for value in batch.values())
    ids = [batch["input_gt_class_ids"][batch["input_gt_class_ids"] != 0].tolist() for batch in batches]
    assert ids == [seen(dataset, i)[1].tolist() for i in dataset.image_ids]


def _evaluate(dataset, exact, boxes_alone):
    """Perfect detections score 1."""
    answers, count = {}, 0
    for i in dataset.image_ids:
        masks, class_ids = seen(dataset, i)
        masks, class_ids = masks[..., class_ids > 0], class_ids[class_ids > 0]
        found = {"rois": extract_bboxes(masks), "class_ids": class_ids, "scores": np.ones(len(class_ids))}
        answers[_pixel(dataset, i)] = found | {"masks": masks}
        count += len(class_ids)
    metrics = evaluate(Model(answers, NUM_CLASSES=max(2, dataset.num_classes)), dataset, verbose=0)
    for kind in metrics if exact else ():
        if not (kind == "bbox" and boxes_alone):
            assert metrics[kind]["AP"] == pytest.approx(1 if count else -1)
