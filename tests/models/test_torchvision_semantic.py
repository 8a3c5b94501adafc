"""Converted weights of torchvision's FCN compute what torchvision computes."""

import pytest
from skimage.transform import resize
from torchvision_case import Case, check, needs_numbers

pytestmark = needs_numbers


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    def wanted(model):
        return {name: model.keras_model.get_layer(f"{name}_logits").output for name in ("semantic", "semantic_aux")}

    return Case("fcn", tmp_path_factory.mktemp("fcn"), wanted)


@pytest.mark.parametrize(("ours", "theirs"), [("semantic", "out"), ("semantic_aux", "aux")])
def test_logits(case, ours, theirs):
    logits = case.found[ours]
    check(logits[:, ::4, ::4], case.gold[f"{theirs}_logits_every4"].transpose(0, 2, 3, 1))
    assert (logits.argmax(-1) == case.gold[f"{theirs}_argmax"]).mean() > 0.9999


def test_classes_of_pixels(case):
    """At the images' own size."""
    for result, image, classes in zip(case.results, case.images, case.gold["out_argmax"], strict=True):
        assert result["semantic"].shape == image.shape[:2]
        expected = resize(classes, image.shape[:2], order=0, preserve_range=True, anti_aliasing=False)
        assert (result["semantic"] == expected).mean() > 0.999
