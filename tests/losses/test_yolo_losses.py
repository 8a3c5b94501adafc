"""The losses of YOLO on small cases computed by hand."""

import numpy as np
import pytest
from keras import ops
from tiny import value_and_gradients

from mrcnn import losses
from mrcnn.models.yolo_v1 import yolo_v1_losses
from mrcnn.models.yolo_v3 import yolo_v3_losses


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(x)) for x in arrays]


def floats(*arrays):
    return tensors(*(np.asarray(x, "float32") for x in arrays))


def numbers(x):
    return {key: float(ops.convert_to_numpy(value)) for key, value in x.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_first_version():
    """An image of two cells, one above the other, of two boxes each; an object in the lower one, of class 2."""
    upper, lower = [0, 0, 0.5, 1], [0.5, 0, 1, 1]
    box = [0.55, 0.3, 0.91, 0.46]  # roots of the sides 0.6 and 0.4; centre (0.73, 0.38), at 0.46 and 0.38 of the cell
    said = np.array([[0.5, 0.5, 0.9, 0.9], [0.5, 0.5, 0.1, 0.1], [0.46, 0.38, 0.2, 0.2], [0.5, 0.4, 0.6, 0.5]])
    sides = np.array([0.36, 0.25])
    found = np.array([0.75 - sides[0] / 2, 0.4 - sides[1] / 2, 0.75 + sides[0] / 2, 0.4 + sides[1] / 2])
    shared = (0.91 - found[0]) * (0.46 - 0.3)  # the fourth box holds all of the object's width
    iou = shared / (0.36 * 0.16 + sides.prod() - shared)
    outputs = dict(
        zip(
            ("anchors", "target_boxes", "active_class_ids", "dense_classes", "dense_object", "dense_bbox"),
            floats(
                [[upper, upper, lower, lower]],
                [[[0] * 4, [0] * 4, box, box]],
                [[1, 1, 1, 0]],
                [[[9, 9, 9]] * 2 + [[0.3, 0.6, 7]] * 2],  # the third class is not of the image's set
                [[[0.1], [0.2], [0.3], [0.4]]],
                [said],
            ),
            strict=True,
        )
    )
    (outputs["target_class_ids"],) = tensors(np.array([[0, 0, 2, 2]], "int32"))
    value = numbers(yolo_v1_losses(outputs, grid=(2, 1), each=2, no_object=0.5, box=5.0))
    assert value["dense_class_loss"] == pytest.approx(0.3**2 + 0.4**2, rel=1e-5)
    assert value["dense_bbox_loss"] == pytest.approx(5 * (0.04**2 + 0.02**2 + 0.1**2), rel=1e-4)
    assert value["dense_object_loss"] == pytest.approx((iou - 0.4) ** 2 + 0.5 * (0.1**2 + 0.2**2 + 0.3**2), rel=1e-4)


def test_nothing_to_find_is_finite():
    outputs = dict(
        zip(
            ("anchors", "target_boxes", "active_class_ids", "dense_classes", "dense_object"),
            floats([[[0, 0, 1, 1]]], [[[0] * 4]], [[1, 1]], [[[0.5]]], [[[0.5]]]),
            strict=True,
        )
    )
    (outputs["target_class_ids"],) = tensors(np.array([[0]], "int32"))

    def total(x):
        return sum(yolo_v1_losses({**outputs, "dense_bbox": x}, grid=(1, 1), each=1).values())

    value, (gradient,) = value_and_gradients(total, np.array([[[0.5, 0.5, -0.2, 0.0]]], "float32"))
    assert value == pytest.approx(0.5 * 0.25) and not gradient.any()


# Two anchors at one place, half as wide and high as the image, in a cell of a quarter of it; and an object near the
# first, in place (0.4, 0.6) of the cell.
ANCHOR = [0.25, 0.25, 0.75, 0.75]
CELLS = [[0.5, 0.5], [0.5, 0.5]]
BOX = [0.475 - 0.125, 0.525 - 0.25, 0.475 + 0.125, 0.525 + 0.25]
SAID = np.array([0.2, -0.3, 0.1, -0.2])


def of_boxes(logistic):
    (class_ids,) = tensors(np.array([[3, 0]], "int32"))
    return float(
        losses.cell_box_loss(
            class_ids, *floats([[BOX, [0] * 4]], [[ANCHOR, ANCHOR]], [[SAID, [9.0] * 4]], CELLS), logistic
        )
    )


def test_boxes():
    sides = 0.5 * ((np.log(0.5) - 0.1) ** 2 + (0 + 0.2) ** 2)
    weight = 2 - 0.25 * 0.5
    place = sigmoid(SAID[:2])
    squares = 0.5 * ((0.4 - place[0]) ** 2 + (0.6 - place[1]) ** 2)
    assert of_boxes(False) == pytest.approx(weight * (squares + sides), rel=1e-5)
    entropy = -sum(t * np.log(p) + (1 - t) * np.log(1 - p) for t, p in zip((0.4, 0.6), place, strict=True))
    assert of_boxes(True) == pytest.approx(weight * (entropy + sides), rel=1e-5)


@pytest.mark.parametrize("logistic", [False, True])
def test_objectness(logistic):
    """Of six anchors one stands for the object, one lies in a crowd; of the others, which stand for nothing, one has
    found the object all the same, one another object, and two nothing."""
    (class_ids,) = tensors(np.array([[1, -1, 0, 0, 0, 0]], "int32"))
    gt, other = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    half = [0.0, 0.0, 0.5, 0.25]  # an IoU of 0.5, which is not above the bound
    logits = np.array([0.5, 3.0, 3.0, 3.0, -1.0, 1.0])
    predicted = [half, gt, gt, other, half, [0.5, 0.0, 1.0, 0.5]]
    loss = losses.cell_object_loss(
        class_ids,
        *floats([logits[:, None]], [predicted], [[gt] + [[0] * 4] * 5], [[gt, other, [0] * 4]]),
        ignore=0.5,
        logistic=logistic,
        weight=5.0,
    )
    p = sigmoid(logits)
    if logistic:
        wanted = -5 * np.log(p[0]) - np.log(1 - p[4]) - np.log(1 - p[5])
    else:
        wanted = 0.5 * (5 * (0.5 - p[0]) ** 2 + p[4] ** 2 + p[5] ** 2)
    assert float(loss) == pytest.approx(wanted, rel=1e-5)


def test_classes():
    """Of the positive anchors, over their number; the third class is not of the image's set."""
    (class_ids,) = tensors(np.array([[2, 0, 1, -1]], "int32"))
    logits = np.array([[0.5, -0.5, 9.0], [5.0, 5.0, 5.0], [1.0, 2.0, -9.0], [7.0, 7.0, 7.0]])
    given = floats([logits], [[1, 1, 1, 0]])
    p = sigmoid(logits)
    wanted = -(np.log(1 - p[0, 0]) + np.log(p[0, 1]) + np.log(p[2, 0]) + np.log(1 - p[2, 1])) / 2
    assert float(losses.logistic_class_loss(class_ids, *given)) == pytest.approx(wanted, rel=1e-5)
    shares = np.exp(logits[:, :2]) / np.exp(logits[:, :2]).sum(axis=1, keepdims=True)
    wanted = -(np.log(shares[0, 1]) + np.log(shares[2, 0])) / 2
    assert float(losses.softmax_class_loss(class_ids, *given)) == pytest.approx(wanted, rel=1e-5)


def test_slopes_are_those_of_the_authors():
    """Target less prediction, of all logits of the third version (Redmon and Farhadi 2018, section 2.1)."""
    (class_ids,) = tensors(np.array([[1, 0]], "int32"))
    box, nothing = [0.25, 0.25, 0.75, 0.75], [0] * 4
    anchors, targets, gt, active = floats([[ANCHOR] * 2], [[box, nothing]], [[box]], [[1, 1, 1]])

    def total(numbers, there, classes):
        outputs = {"dense_bbox": numbers, "dense_object": there, "dense_class_logits": classes, "gt_boxes": gt}
        outputs |= {"anchors": anchors, "target_boxes": targets, "target_class_ids": class_ids}
        outputs["active_class_ids"] = active
        return sum(yolo_v3_losses(outputs, cells=[[2, [[0.5, 0.5]]]]).values())

    far = [0.0, 0.0, -3.0, -3.0]
    said = [[SAID, far]], [[[0.3], [0.4]]], [[[1.0, -1]] * 2]
    _, (place, there, classes) = value_and_gradients(total, *(np.array(x, "float32") for x in said))
    weight = 2 - 0.25
    difference = np.array([*sigmoid(SAID[:2]), *SAID[2:]]) - [0.5, 0.5, 0, 0]
    np.testing.assert_allclose(place[0, 0], weight * difference, rtol=1e-4)
    np.testing.assert_allclose(there[0, :, 0], [sigmoid(0.3) - 1, sigmoid(0.4)], rtol=1e-4)
    np.testing.assert_allclose(classes[0], [[sigmoid(1) - 1, sigmoid(-1)], [0, 0]], rtol=1e-4)
    assert not place[0, 1].any()
