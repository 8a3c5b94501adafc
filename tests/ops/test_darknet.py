"""Networks of .cfg files: what is read of them, and what is refused in one line."""

import pytest

from mrcnn.ops.darknet import read_cfg

NET = "[net]\nwidth=96\nheight=64\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
LAST = "[convolutional]\nsize=1\nstride=1\npad=1\nfilters=14\nactivation=linear\n"
YOLO = "[yolo]\nmask=1,2\nanchors=1,2, 3,4, 5,6\nclasses=2\nnum=3\n"
REGION = "[region]\nanchors=1,2, 3,4\nclasses=2\nnum=2\nsoftmax=1\n"


def test_a_network():
    text = NET + CONV + "[maxpool]\nsize=2\nstride=1 # as v3-tiny\n" + CONV + "[reorg]\nstride=2\n[route]\nlayers=-1\n"
    network = read_cfg(text + LAST + REGION)
    assert (network.height, network.width, network.version, network.classes, network.heads) == (64, 96, 2, 2, [6])
    kinds = [(x.kind, x.sources, x.channels, x.stride) for x in network.layers]
    assert kinds == [
        ("convolutional", (-1,), 8, 2),
        ("maxpool", (0,), 8, 2),
        ("convolutional", (1,), 8, 4),
        ("reorg", (2,), 32, 8),
        ("route", (3,), 32, 8),
        ("convolutional", (4,), 14, 8),
        ("region", (5,), 14, 8),
    ]
    assert network.layers[1].padding == (0, 1) and network.layers[0].norm and network.layers[0].leaky
    assert network.layers[6].anchors == ((8, 16), (24, 32))  # in cells


def test_heads_are_from_fine_to_coarse():
    coarse = CONV + CONV + LAST + YOLO
    fine = "[route]\nlayers=-3\n[upsample]\nstride=2\n[route]\nlayers=-1, 0\n"
    network = read_cfg(NET + coarse + fine + LAST + YOLO.replace("1,2\n", "0,1\n", 1))
    assert network.heads == [8, 3] and network.version == 3
    assert [(network.layers[i].stride, network.layers[i].anchors) for i in network.heads] == [
        (2, ((1, 2), (3, 4))),
        (4, ((3, 4), (5, 6))),
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "does not begin with"),
        ("weights", "line 1 is neither"),
        (CONV, "does not begin with"),
        (NET + CONV, "detects nothing"),
        (NET.replace("64", "x"), r"\[net\] in line 1 has height='x', which are no numbers"),
        (NET.replace("64", "0"), "has height=0; it must be one number of 1 to"),
        ("[net]\nwidth=64\n" + CONV, r"\[net\] in line 1 has no height; it must be one number of 1 to"),
        (NET + "channels=1\n" + CONV, "images of 3 channels"),
        (NET + "[local]\n", r"\[local\] in line 4 is of an unknown kind; known are convolutional, maxpool"),
        (NET + CONV.replace("leaky", "mish"), "has activation=mish; what is known is linear and leaky"),
        (NET + CONV.replace("pad=1", "pad=0"), "padding 0; known are odd sizes"),
        (NET + CONV.replace("filters=8", "filters=99999999"), "has filters=99999999"),
        (NET + CONV + "groups=2\n", "has groups=2"),
        (NET + CONV + "[route]\nlayers=-2\n", "has layers=-2, which names no layer"),
        (NET + CONV + "[route]\nlayers=5\n", "names no layer"),
        (NET + CONV + CONV + "[route]\nlayers=0,1\n", "joins maps of different sizes"),
        (NET + CONV + CONV + "[shortcut]\nfrom=-2\n", "adds maps of different shapes"),
        (NET + CONV + "[reorg]\nstride=3\n", "does not come out even"),
        (NET + CONV + YOLO, "does not follow a linear convolution"),
        (NET + LAST.replace("14", "15") + YOLO, r"needs 2 x \(5 \+ 2\) filters before it, not 15"),
        (NET + LAST + YOLO.replace("1,2\n", "1,7\n", 1), "has mask=1,7"),
        (NET + LAST + YOLO.replace("num=3", "num=4"), "has 6 numbers as anchors; num=4 needs 8"),
        (NET + LAST + YOLO + "scale_x_y=1.05\n", "has scale_x_y=1.05"),
        (NET + LAST + REGION.replace("softmax=1", ""), "has no softmax=1"),
        (NET + LAST + REGION + "tree=coco.tree\n", "has a tree of classes"),
        (NET + LAST + REGION + CONV, "follows a layer of detections"),
        (NET + LAST + YOLO + "[route]\nlayers=-2\n" + LAST + YOLO, "must be of different strides"),
        (NET + LAST + YOLO + "[route]\nlayers=-2\n" + LAST + REGION, "a .region. layer and others"),
    ],
)
def test_what_cannot_be(text, words):
    with pytest.raises(ValueError, match=words) as error:
        read_cfg(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250
