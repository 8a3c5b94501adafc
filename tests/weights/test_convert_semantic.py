"""State dicts of torchvision's FCN become our layers and settings."""

import numpy as np
import pytest
from foreign import State, torchvision_state

from mrcnn.weights import convert


def fcn_state(classes=3, aux=True):
    state = State()
    state.update(
        {key.replace("backbone.body.", "backbone."): x for key, x in torchvision_state().items() if ".body." in key}
    )
    for head in ("classifier", *["aux_classifier"] * aux):
        state.add(f"{head}.0", 4, 16, 3, 3, bias=False)
        state.add_norm(f"{head}.1", 4)
        state.add(f"{head}.4", classes, 4, 1, 1)
    return state


def test_every_number_lands():
    state = fcn_state()
    _, found = convert.translate(state)
    ours = np.sort(np.concatenate([x.ravel() for arrays in found.values() for x in arrays.values()]))
    theirs = [x.ravel() for key, x in state.items() if "num_batches" not in key]
    np.testing.assert_array_equal(ours, np.sort(np.concatenate(theirs).astype("float32")))
    np.testing.assert_array_equal(
        found["semantic_aux_conv1"]["kernel"], state["aux_classifier.0.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(found["semantic_bn1"]["gamma"], state["classifier.1.weight"])


def test_settings():
    config, _ = convert.translate(fcn_state())
    assert (config.DETECTOR, config.BACKBONE, config.NUM_CLASSES) == ("fcn", "resnet50", 3)
    assert (config.FCN_HEAD, config.IMAGE_MIN_DIM, config.BATCH_NORM_EPSILON) == ("dilated", 520, 1e-5)
    assert config.finds == ("bbox", "segm", "semantic") and not len(config.CLASS_NAMES)
    names = convert.translate(fcn_state(21))[0].CLASS_NAMES
    assert len(names) == 21 and names[0] == "BG" and names[15] == "person"


def test_a_file_that_lacks_something_is_refused():
    state = fcn_state()
    for key in ("classifier.4.bias", "classifier.1.running_var"):
        with pytest.raises(ValueError, match=rf"1 keys are missing \({key}\)"):
            convert.translate({name: x for name, x in state.items() if name != key})
    with pytest.raises(ValueError, match=r"1 keys are unknown \(mood\)"):
        convert.translate({**state, "mood": np.ones(1)})
