"""GroupNorm by hand, and in the place of every BatchNorm behind the backbone."""

import keras
import numpy as np
import pytest
from kites import KiteConfig

from mrcnn.layers.batch_norm import BatchNorm
from mrcnn.layers.group_norm import GroupNorm, group_norm
from mrcnn.models import parts

pytestmark = pytest.mark.graph


def test_each_object_and_group_by_itself():
    """64 channels are 32 groups of two: (0, 2) have the mean 1 and the variance 1."""
    layer = group_norm("mrcnn_mask_bn1", frozen=True)
    x = np.tile(np.array([0.0, 2.0], "float32"), (3, 2, 2, 32)) * np.array([1, 5, -1]).reshape(3, 1, 1, 1)
    found = keras.ops.convert_to_numpy(layer(x.astype("float32")))
    assert layer.groups == 32 and layer.name == "mrcnn_mask_gn1"
    np.testing.assert_allclose(found[0, 0, 0, :2], [-1, 1], atol=1e-4)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    np.testing.assert_allclose(found[2], -found[0], atol=1e-4)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x[:1].astype("float32")))[0], found[0], atol=1e-6)


def test_heads_and_pyramid_have_it():
    config = KiteConfig().update(HEAD_NORM="group", FPN_BN=True)
    head, mask = parts.box_head(config), parts.instance_heads(config, "training")["mrcnn_mask"]
    names = [norm.name for _, norm, _ in (*head.blocks, *mask.blocks)]
    assert names == ["mrcnn_class_gn1", "mrcnn_class_gn2", *(f"mrcnn_mask_gn{i}" for i in (1, 2, 3, 4))]
    image = keras.Input((64, 64, 3))
    graph = keras.Model(image, parts.feature_maps(config, image))
    pyramid = [x for x in graph.layers if x.name.startswith("fpn_") and isinstance(x, (GroupNorm, BatchNorm))]
    assert len(pyramid) == 8 and all(isinstance(x, GroupNorm) and x.name.endswith("_gn") for x in pyramid)
    assert all(x.groups == np.gcd(32, config.TOP_DOWN_PYRAMID_SIZE) for x in pyramid)
