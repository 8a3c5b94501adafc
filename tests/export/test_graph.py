"""The graph that is exported gives what `detect` gives, for every detector; here Keras itself runs it."""

from types import SimpleNamespace

import numpy as np
import pytest
from exportable import assert_same, images, small_model
from quick import QuickConfig

from mrcnn.data.resizing import plan, resize_image
from mrcnn.export import runtime, writing
from mrcnn.export.canvas import window_on_canvas
from mrcnn.export.graph import Canvas, InImage, OnCanvas, exported_graph
from mrcnn.ops.results import Place, place_keypoints
from mrcnn.settings import checks


@pytest.mark.parametrize("mode", ["square", "rect", "shortest", "stretch"])
@pytest.mark.parametrize("min_dim, min_scale", [(None, None), (800, None), (400, 2.5)])
def test_window_is_that_of_plan(mode, min_dim, min_scale):
    if mode == "shortest" and min_dim is None:
        return
    for height, width in np.random.default_rng(0).integers(1, 3000, (200, 2)).tolist():
        expected = plan(height, width, min_dim, 1024, min_scale, mode, square=True).window
        assert (
            window_on_canvas(height, width, (1024, 1024), mode=mode, min_dim=min_dim, min_scale=min_scale) == expected
        )


def test_window_on_a_canvas_that_is_no_square():
    """A wide photo lies on it as `rect` has it; a tall one is scaled to fit."""
    wide = plan(427, 640, 800, 1024, None, "rect")
    assert wide.shape == (704, 1024)
    assert window_on_canvas(427, 640, (704, 1024), min_dim=800) == wide.window
    assert window_on_canvas(640, 427, (704, 1024), min_dim=800) == (0, 277, 704, 747)


@pytest.mark.parametrize("size", [(40, 56), (21, 64), (130, 90), (64, 64)])
@pytest.mark.parametrize("rounding, mode", [("truncate", "square"), ("nearest", "square"), ("nearest", "stretch")])
def test_canvas_is_what_resize_image_gives(size, rounding, mode):
    image = np.random.default_rng(1).integers(60, 256, (*size, 3)).astype("uint8")
    expected, window, *_ = resize_image(image, 48, 64, None, mode, rounding=rounding)
    canvas = Canvas((64, 64), 2, 48, None, mode, rounding, (100, 110, 120))
    molded, meta = (np.asarray(x)[0] for x in canvas(image[None]))
    different = molded + (100, 110, 120) - expected
    # A value of a whole number, less what rounding takes, may be cut to that number or the one below.
    assert np.abs(different).max() < 1.1 and np.mean(np.abs(different) > 0.1) < 0.004
    np.testing.assert_array_equal(meta[1:11], [*image.shape, 64, 64, 3, *window])
    assert meta.shape == (14,)


def test_canvas_by_its_settings():
    """The mean as padding, a standard deviation, and channels the other way round."""
    image = np.full((20, 40, 3), (10, 20, 30), "uint8")
    given = {"mean_pixel": (1, 2, 3), "pixel_std": (1, 2, 3), "padding": "mean", "channel_order": "bgr"}
    molded = np.asarray(Canvas((64, 64), 2, **given)(image[None])[0])[0]
    np.testing.assert_allclose(molded[32, 32], [9, 9, 9])
    assert (molded[:22] == 0).all() and (molded[42:] == 0).all()


def test_proposals_on_the_canvas():
    meta = np.zeros((1, 14), "float32")
    meta[0, 1:11] = 20, 40, 3, 64, 64, 3, 16, 0, 48, 64
    pixels = np.array([[[0, 0, 20, 40], [0, 0, 0, 0]]], "float32")
    (rows,) = np.asarray(OnCanvas((64, 64), "edges")([pixels, meta]))
    np.testing.assert_allclose(rows, [[0.25, 0, 0.75, 1], [0, 0, 0, 0]])


def test_padding_is_zero_where_the_image_has_one_row():
    meta = np.zeros((1, 14), "float32")
    meta[0, 1:11] = 3, 300, 3, 64, 64, 3, 31, 0, 32, 64
    rows = np.asarray(InImage((64, 64), "pixels")([np.zeros((1, 2, 4), "float32"), meta]))
    np.testing.assert_array_equal(rows, np.zeros((1, 2, 4)))


@pytest.fixture
def read_as(monkeypatch):
    """`Exported` of a record, which is run by a function of {input: array}."""

    def call(run, settings, **changes):
        record = {"format": "onnx", "canvas": (64, 64), "image": None, "outputs": {}, "settings": settings}
        monkeypatch.setattr(runtime, "read_record", lambda path: record)
        monkeypatch.setattr(runtime, "format_module", lambda name: SimpleNamespace(load=lambda path: run))
        return runtime.Exported("model", **changes)

    return call


@pytest.mark.parametrize("name", checks.DETECTORS)
def test_every_detector(name, tmp_path, read_as):
    joints = {"NUM_KEYPOINTS": 4, "KEYPOINT_FLIP_PAIRS": []} if name == "centernet" else {}
    model = small_model(name, tmp_path, DETECTION_MIN_CONFIDENCE=0.0, **joints)
    model.fold_batch_norm()
    graph = exported_graph(model, model.config.IMAGE_SHAPE[:2])
    pictures, given = images(4)[2:], {}
    if model.config.takes_proposals:
        corners = np.sort(np.random.default_rng(0).uniform(0, 40, (2, 9, 2, 2)), axis=2)
        given = {"proposals": list(corners.reshape(2, 9, 4))}
    expected = model.detect(pictures, **given)
    exported = read_as(lambda inputs: {k: np.asarray(x) for k, x in graph(inputs).items()}, model.config.to_dict())
    found = exported.detect(pictures, **given)
    assert any(len(x["rois"]) for x in expected)
    for one, other in zip(expected, found, strict=True):
        assert_same(one, other)


def test_score_of_the_file_and_a_higher_one(read_as):
    """Detections of a higher score alone; a lower one than was exported is refused."""
    rows = np.float32([[[0, 0, 4, 4], [0, 4, 4, 8], [4, 4, 8, 8]]])
    scores, masks = np.float32([[0.9, 0.6, 0.4]]), np.ones((1, 3, 28, 28), "float32")
    outputs = {"boxes": rows, "classes": np.ones((1, 3), "int32"), "scores": scores, "masks": masks}
    settings = QuickConfig().update(DETECTION_MIN_CONFIDENCE=0.3).to_dict()
    for lowest, count in ((0.3, 3), (0.5, 2), (0.95, 0)):
        (found,) = read_as(lambda inputs: outputs, settings, DETECTION_MIN_CONFIDENCE=lowest).detect([np.ones((8, 8))])
        assert found["masks"].sum(axis=(0, 1)).tolist() == [16] * count
    with pytest.raises(ValueError, match="finds nothing below DETECTION_MIN_CONFIDENCE 0.3"):
        read_as(None, settings, DETECTION_MIN_CONFIDENCE=0.0)


def test_refusals(tmp_path):
    model = small_model("faster_rcnn", tmp_path)
    for words, path, format, precision in [
        ("'coreml' is unknown; choose savedmodel", "m", "coreml", "float32"),
        ("savedmodel is written in float32, float16, not in 'int8'", "m", "savedmodel", "int8"),
        ("ends in .onnx; .*m.bin does not", "m.bin", "onnx", "float32"),
        ("is a folder with other things", ".", "savedmodel", "float32"),
    ]:
        (tmp_path / "other").touch()
        with pytest.raises(ValueError, match=words):
            writing.check_export(model.config, tmp_path / path, format, precision)
    with pytest.raises(ValueError, match="100x64; the network wants multiples of 64"):
        model.export(tmp_path / "m", canvas=(100, 64))
    model.config.IMAGE_RESIZE_MODE = "pad64"
    with pytest.raises(ValueError, match="'pad64' has no fixed size"):
        model.export(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_is_no_export(tmp_path):
    with pytest.raises(FileNotFoundError, match="lie beside each other"):
        runtime.Exported(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").touch()
    assert not runtime.is_exported(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.json").write_text('{"format": "onnx"}')
    with pytest.raises(ValueError, match="m.onnx.json is not of an exported model"):
        runtime.Exported(tmp_path / "m.onnx")


def test_points_of_a_large_image(read_as):
    """They lie where `detect` has them: of boxes in its pixels, the network's own are found again."""
    place = Place((200, 150), (64, 64), (0, 8, 64, 56))
    rows, meta = np.float32([[0, 8 / 63, 32 / 63, 32 / 63, 1, 0.9]]), np.zeros((1, 14), "float32")
    meta[0, 1:11] = *place.original, 3, *place.molded, 3, *place.window
    boxes = np.asarray(InImage(place.molded, "pixels")([rows[None, :, :4], meta]))
    heatmaps = np.random.default_rng(0).normal(size=(1, 5, 8, 8)).astype("float32")
    outputs = {"boxes": boxes, "classes": np.ones((1, 1), "int32"), "scores": rows[:, 5:], "keypoints": heatmaps[None]}
    (found,) = read_as(lambda inputs: outputs, QuickConfig().to_dict()).detect([np.ones(place.original)])
    np.testing.assert_allclose(found["keypoints"], place_keypoints(heatmaps, rows, place), atol=1e-3)


def test_one_image_is_no_list(read_as):
    """It would be taken for as many images as it has rows."""
    with pytest.raises(ValueError, match=r"takes a list of images, and this is one of shape \(8, 8, 3\)"):
        read_as(lambda inputs: {}, QuickConfig().to_dict()).detect(np.ones((8, 8, 3)))
