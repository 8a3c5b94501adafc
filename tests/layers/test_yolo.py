"""Darknet's backbones, its order of channels, YOLO's maps, and boxes in cells against formulas written out."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.layers.backbones import build_backbone
from mrcnn.layers.darknet import Reorg, darknet_conv, network_maps
from mrcnn.layers.yolo_head import CellDeltas, grid_map, passthrough_map, predict_cells, root_deltas, scale_maps
from mrcnn.ops import boxes
from mrcnn.ops.darknet import read_cfg

STRIDES = 2, 4, 8, 16, 32


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


def convolve(x, channels, size, name, step=1):
    return darknet_conv(x, channels, size, f"dense_{name}", f"dense_{name}_bn", step=step)


@pytest.mark.parametrize(
    "name, convolutions, channels",
    [
        ("darknet19", 18, [8, 16, 32, 64, 128]),  # the nineteenth names the photo
        ("darknet53", 52, [8, 16, 32, 64, 128]),
        ("darknet_tiny", 6, [4, 8, 16, 32, 64]),
    ],
)
def test_backbones(name, convolutions, channels):
    image = keras.Input((64, 96, 3))
    maps = build_backbone(name, image, False, 8)
    assert [x.shape[1:] for x in maps] == [(64 // s, 96 // s, c) for s, c in zip(STRIDES, channels, strict=True)]
    model = keras.Model(image, maps)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == kinds.count("BatchNorm") == convolutions
    assert all(layer.frozen for layer in model.layers if type(layer).__name__ == "BatchNorm")
    assert {"conv1", "bn_conv1", "res5_1", "bn5_1"} <= {layer.name for layer in model.layers}


def test_what_a_convolution_is():
    """Padded alike on all sides, less what the network has seen, and a tenth of what is below 0."""
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, darknet_conv(x, 1, 3, "conv", "bn", step=2, epsilon=0.0))
    model.get_layer("conv").set_weights([np.ones((3, 3, 1, 1))])
    model.get_layer("bn").set_weights([np.array([x]) for x in (2.0, 1.0, 30.0, 4.0)])  # gamma, beta, mean, variance
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    corner, edge = 0 + 1 + 4 + 5, 1 + 2 + 3 + 5 + 6 + 7
    sums = np.array([[corner, edge], [4 + 5 + 8 + 9 + 12 + 13, 5 + 6 + 7 + 9 + 10 + 11 + 13 + 14 + 15]])
    wanted = 2 * (sums - 30) / 2 + 1
    found = model.predict_on_batch(image)[0, ..., 0]
    np.testing.assert_allclose(found, np.where(wanted > 0, wanted, wanted / 10), rtol=1e-5)


def test_reorg_orders_channels_as_darknet():
    """By its loops, written out."""
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype("float32")
    flat, wanted = x.transpose(0, 3, 1, 2).reshape(2, -1), np.zeros((2, 8 * 4 * 6), "float32")
    for k in range(8):
        for j in range(4):
            for i in range(6):
                offset, c = divmod(k, 2)
                column, row = 2 * i + offset % 2, 2 * j + offset // 2
                wanted[:, i + 6 * (j + 4 * k)] = flat[:, column + 12 * (row + 8 * c)]
    wanted = wanted.reshape(2, 32, 2, 3).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(Reorg(2)(tensor(x))), wanted)
    assert Reorg(2).compute_output_shape((None, 4, 6, 8)) == (None, 2, 3, 32)


def test_maps():
    fine, coarse = keras.Input((8, 12, 6)), keras.Input((4, 6, 12))
    assert passthrough_map(fine, coarse, convolve, 64).shape == (None, 4, 6, 64)
    maps = scale_maps([fine, coarse], convolve, 16)
    assert [x.shape for x in maps] == [(None, 8, 12, 16), (None, 4, 6, 32)]
    names = {layer.name for layer in keras.Model([fine, coarse], maps).layers if layer.weights}
    assert len(names) == 2 * (2 * 6 + 1) and all(name.startswith("dense_scale") for name in names)
    assert grid_map(coarse, convolve, 8, halve=True).shape == (None, 2, 3, 8)
    assert grid_map(coarse, convolve, 8, halve=False, dense=20).shape == (None, 1, 1, 20)


def test_a_pooling_that_keeps_the_size():
    """Size 2 at every place, as in v3-tiny: it looks to the right and down."""
    last = "[convolutional]\npad=1\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\nnum=1\n"
    for pool, wanted in (("size=2\nstride=1", [[6, 7, 8, 8]]), ("size=3\nstride=2", [[6, 8]])):
        network = read_cfg(f"[net]\nwidth=4\nheight=4\n[maxpool]\n{pool}\n" + last)
        image = keras.Input((4, 4, 3))
        model = keras.Model(image, network_maps(image, network)[0])
        x = np.zeros((1, 4, 4, 3)) - 1
        x[0, 0], x[0, 1] = np.arange(1, 5)[:, None], np.arange(5, 9)[:, None]
        np.testing.assert_array_equal(model.predict_on_batch(x)[0, :1, :, 0], wanted)


def test_boxes_in_cells_by_hand():
    """The second of two anchors, 10 wide and 40 high, in the cell of row 1, column 2, of 8 pixels."""
    sizes = [(8, 8), (10, 40)]
    numbers = np.zeros((1, 2 * 3 * 2, 4))
    numbers[0, 2 * (3 * 1 + 2) + 1] = [np.log(3), -np.log(3), np.log(0.5), np.log(2)]  # sigmoids of 3/4 and 1/4
    deltas = ops.convert_to_numpy(CellDeltas(8, sizes)(tensor(numbers)))[0]
    anchor = np.array([12 - 20, 20 - 5, 12 + 20, 20 + 5.0])
    y, x = (1 + 0.75) * 8, (2 + 0.25) * 8
    np.testing.assert_allclose(boxes.decode(anchor, deltas[11]), [y - 10, x - 10, y + 10, x + 10], rtol=1e-5)
    np.testing.assert_allclose(deltas[10], 0, atol=1e-7)  # the middle of its cell, as large as the anchor
    back = boxes.encode_in_cell(anchor, np.array([y - 10, x - 10, y + 10, x + 10]), np.array([8 / 40, 8 / 10]))
    np.testing.assert_allclose(back, [0.75, 0.25, np.log(0.5), np.log(2)], rtol=1e-5)


def test_boxes_of_the_first_version_by_hand():
    """In a grid of 4 x 2 cells."""
    cell = np.array([0.25, 0.5, 0.5, 1.0])
    deltas = ops.convert_to_numpy(root_deltas(tensor([0.5, 0.25, 0.5, -0.1]), (4, 2)))
    y, x = 0.25 + 0.5 * 0.25, 0.5 + 0.25 * 0.5
    np.testing.assert_allclose(boxes.decode(cell, deltas)[[0, 2]], [y - 0.125, y + 0.125], rtol=1e-5)
    np.testing.assert_allclose(boxes.decode(cell, deltas)[[1, 3]], x, rtol=1e-4)  # of no width, as the root is negative


def test_every_anchor_says_its_own():
    maps = [keras.Input((n, n, 4)) for n in (4, 2)]
    said = predict_cells(maps, 2, 3)
    assert [[x.shape[1:] for x in said[name]] for name in ("dense_class_logits", "dense_object", "dense_bbox")] == [
        [(n * n * 3, values) for n in (4, 2)] for values in (2, 1, 4)
    ]
    model = keras.Model(maps, said["dense_object"])
    logits = model.predict_on_batch([np.zeros((1, n, n, 4)) for n in (4, 2)])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[0])), 0.01, rtol=1e-5)  # hardly anything is there at first
