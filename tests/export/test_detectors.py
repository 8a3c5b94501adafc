"""Every detector but Mask R-CNN in every format: nothing, one thing and many in an image, alone and in a batch.

test_graph.py has all of them in Keras; what runtimes make of them is looked at where one is installed.
"""

import importlib.util

import numpy as np
import pytest
from exportable import FILES, JOINTS, assert_same, example, file_of

from mrcnn.export import Exported
from mrcnn.settings import checks

NAMES = [name for name in checks.DETECTORS if name != "mask_rcnn"]
BOXES = np.sort(np.random.default_rng(0).uniform(0, 33, (9, 2, 2)), axis=1).reshape(9, 4)

pytestmark = pytest.mark.compiled

if not any(importlib.util.find_spec(package) for _, packages, _ in FILES.values() for package in packages):
    pytest.skip("ONNX Runtime is not installed", allow_module_level=True)


@pytest.fixture(scope="module", params=NAMES)
def examples(request, tmp_path_factory):
    """A detector, with keypoints where it finds some, images, and what it finds in them."""
    changes = {**JOINTS} if "keypoints" in checks.DETECTORS[request.param] else {}
    if request.param == "unet":
        changes["UNET_UNPOOL"] = "maxima"
    return example(request.param, tmp_path_factory.mktemp("model"), BOXES, **changes)


@pytest.mark.parametrize("format", FILES)
def test_results(examples, format, tmp_path):
    model, pictures, expected = examples
    assert [min(2, len(x["scores"])) for x in expected[:3]] == [0, 1, 2]
    path = tmp_path / file_of(format)
    model.export(path, format, images=pictures[1:2], image_size=(40, 56))
    found = Exported(path)
    for part in (slice(0, 1), slice(1, 2), slice(0, 3)):
        given = {"proposals": [BOXES] * len(pictures[part])} if model.config.takes_proposals else {}
        for one, other in zip(expected[part], found.detect(pictures[part], **given), strict=True):
            assert_same(one, other)
