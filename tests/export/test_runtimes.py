"""A model of masks and keypoints in every format: nothing, one thing and many in an image, alone and in a batch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exportable import FILES, JOINTS, assert_same, example, file_of, images
from PIL import Image

from mrcnn.export import Exported, runtime

# What only the program of a format has, in the docs.
PROGRAMS = {
    "savedmodel": "tf.saved_model.load",
    "onnx": "onnxruntime.InferenceSession",
    "openvino": "openvino.Core",
    "litert": "ai_edge_litert",
}

pytestmark = pytest.mark.compiled


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Of masks and keypoints."""
    return example("mask_rcnn", tmp_path_factory.mktemp("model"), **JOINTS)


@pytest.fixture(scope="module", params=FILES)
def exported(request, examples, tmp_path_factory):
    """The model in a format, and what `export` said."""
    name = file_of(request.param)
    path = tmp_path_factory.mktemp(request.param) / name
    model, pictures, _ = examples
    record = model.export(path, request.param, images=pictures[1:2], image_size=(40, 56))
    return Exported(path), record


def test_results(exported, examples):
    """Nothing, one thing and many, alone and in a batch; other sizes, which a fixed size takes scaled, and so not quite
    as they were."""
    _, pictures, expected = examples
    assert [min(2, len(x["scores"])) for x in expected[:3]] == [0, 1, 2]
    results = exported[0].detect(pictures)
    fixed = exported[0].record["image"] is not None
    for one, other in list(zip(expected, results, strict=True))[: 3 if fixed else 4]:
        assert_same(one, other)
    for image, one in zip(pictures[:3], expected, strict=False):
        assert_same(one, exported[0].detect([image])[0])
    large = images(1, 120, 150)
    for image, found in zip([pictures[3], *large], [results[3], *exported[0].detect(large)], strict=True):
        assert found["masks"].shape == (*image.shape[:2], len(found["rois"]))
        assert (found["rois"] >= 0).all() and (found["rois"][:, 2:] <= image.shape[:2]).all()


def test_record(exported):
    found, record = exported
    stored = json.loads(runtime.record_path(found.path).read_text())
    assert stored == record == found.record
    assert stored["classes"] == ["BG", "kite"] and stored["precision"] == "float32"
    assert set(stored["outputs"]) == {"boxes", "classes", "scores", "masks", "keypoints"}
    assert stored["versions"]["tensorflow"] and stored["settings"]["NUM_KEYPOINTS"] == 4
    assert stored["differences"]["boxes"] < 0.1 and not stored["differences"]["lost"]
    assert not [path for path in found.path.parent.iterdir() if path.name.startswith(".")]


def test_without_keras(exported, examples, tmp_path):
    """The program of the docs, which knows nothing of this package, and behind it `Exported`, in a process in which
    neither Keras nor what else the package needs can be imported."""
    found, record = exported
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    (code,) = [x for x in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if PROGRAMS[record["format"]] in x]
    assert code.count("\n") <= 40 and "mrcnn" not in code
    Image.fromarray(examples[1][2]).save(tmp_path / "image.png")
    others = ["scipy", "skimage", "pycocotools", "h5py", "tqdm"]
    if record["format"] != "savedmodel":
        others += ["keras", "tensorflow"]
    (tmp_path / "program.py").write_text(code)
    (tmp_path / "both.py").write_text(f"""
import sys
for name in {others}:
    sys.modules[name] = None
exec(open("program.py").read())
assert not any(name.startswith("mrcnn") for name in sys.modules)
from mrcnn.export import Exported
(found,) = Exported(model).detect([image])
print(len(found["rois"]), found["masks"].sum())
""")
    command = [sys.executable, "-c", "exec(open('both.py').read())", str(found.path), "image.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (here,) = found.detect([examples[1][2]])
    printed = [line.split() for line in done.stdout.splitlines() if line.startswith("kite")]
    sure = here["scores"] >= 0.5
    np.testing.assert_allclose([float(words[1]) for words in printed], here["scores"][sure], atol=1e-4)
    assert sure.any() and "pixels" in done.stdout
    assert done.stdout.split()[-2:] == [str(len(here["rois"])), str(here["masks"].sum())]


def test_signature_for_serving(exported, examples):
    """TensorFlow Serving makes tensors of the lists under "instances" by the signature's names and types."""
    found, record = exported
    if record["format"] != "savedmodel":
        return
    import tensorflow as tf

    signature = tf.saved_model.load(str(found.path)).signatures["serving_default"]
    ((), given), answers = signature.structured_input_signature, signature.structured_outputs
    assert given["image"].shape.as_list() == [None, None, None, 3] and given["image"].dtype == tf.uint8
    assert set(answers) == set(record["outputs"]) and all(x.shape[0] is None for x in answers.values())
    instances = json.loads(json.dumps([{"image": examples[1][2].tolist()}] * 2))
    predictions = signature(image=tf.constant([x["image"] for x in instances], tf.uint8))
    np.testing.assert_array_equal(predictions["scores"][0], predictions["scores"][1])
    assert predictions["boxes"].shape[0] == 2
