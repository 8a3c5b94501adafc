"""Names of other packages that scripts took from the old modules, imports in any order, and files beside ours."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mrcnn.model as modellib
from mrcnn import config, parallel_model, utils, visualize

PACKAGE = Path(modellib.__file__).parent


def star(module):
    names = {}
    exec(f"from mrcnn.{module} import *", names)
    return names


def test_star_imports():
    names = star("config") | star("visualize") | star("model") | star("utils")
    code = """
config = type("Own", (Config,), {"NUM_CLASSES": 3})()
path = os.path.join("a", str(math.floor(random.random())), str(sys.maxsize))
contours = find_contours(np.pad(np.ones((3, 3)), 1), 0.5)
shape = Polygon(np.fliplr(contours[0]), facecolor="none")
fig, ax = plt.subplots(1)
ax.add_patch(shape); ax.add_line(lines.Line2D([0, 1], [0, 1])); ax.add_patch(patches.Rectangle((0, 0), 1, 1))
plt.close(fig)
colors = [colorsys.hsv_to_rgb(i / 3, 1, 1.0) for i in range(3)]
both = list(itertools.product("ab", "cd"))
image = skimage.transform.resize(np.zeros((8, 8)), (4, 4))
image = scipy.ndimage.zoom(image, 2, order=0)
new = LooseVersion(skimage.__version__) >= LooseVersion("0.14")
assert COCO_MODEL_URL.endswith("mask_rcnn_coco.h5") and urllib.request.urlopen and shutil.copyfileobj and warnings.warn
when = datetime.datetime(2018, 1, 2); logging.getLogger(); multiprocessing.cpu_count(); re.match("a", "a")
ordered = OrderedDict([("a", 1)])
layer = KL.Dense(2); model = KM.Model; base = KE.Layer; K.image_data_format()
boxes = extract_bboxes(np.ones((4, 4, 1), bool)); shown = display_instances; model = MaskRCNN
"""
    exec(code, names)
    assert names["image"].shape == (8, 8) and names["new"] and names["both"][3] == ("b", "d")


def test_names_through_modules():
    import keras
    import numpy as np

    assert modellib.utils is visualize.utils is utils
    assert modellib.KL is parallel_model.KL is keras.layers and modellib.KM is parallel_model.KM is keras.models
    assert issubclass(modellib.BatchNorm, modellib.KE.Layer) and modellib.K is parallel_model.K is keras.backend
    assert config.np is utils.np is modellib.np is visualize.np is np
    assert modellib.keras is parallel_model.keras is keras
    assert modellib.tf.reduce_sum([1, 2]) == parallel_model.tf.constant(3) == utils.tf.constant(3)
    assert visualize.IPython.display.display
    for module in (modellib, utils, visualize, parallel_model):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            module.nothing


def run(code, folder):
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


IMGAUG = """
import numpy as np
before = set(dir(np))
try:
    import imgaug
except AttributeError as error:
    print("first:", error)
import mrcnn
print("untouched:", set(dir(np)) == before)
import imgaug
from imgaug import augmenters as iaa
print("after:", iaa.Fliplr(1.0)(image=np.arange(3)[None]).tolist())
"""


def test_imgaug_after_any_part_of_the_package():
    """Before any part it fails in NumPy's words, and works when tried again: PORTING has the line to write."""
    from mrcnn.data.imgaug import import_imgaug

    try:
        import_imgaug()
    except ImportError as error:
        pytest.skip(str(error))
    out = run(IMGAUG, PACKAGE.parent)
    assert "first: `np.sctypes` was removed in the NumPy 2.0 release." in out
    assert "untouched: True" in out and "after: [[2, 1, 0]]" in out


def test_files_of_a_fork_beside_ours(tmp_path):
    """They are found, but for those that have the name of one of our folders, which PORTING lists."""
    folder = tmp_path / "mrcnn"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    floors = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    for name in ["dataset", "evaluate", "coco", "train", "helpers"]:
        (folder / f"{name}.py").write_text("THEIRS = True\n")
    out = run(
        """
import importlib
import mrcnn.utils
from mrcnn.evaluate.metrics import compute_ap
assert mrcnn.utils.compute_ap is compute_ap
for name in ["dataset", "evaluate", "coco", "train", "helpers"]:
    print(name, hasattr(importlib.import_module(f"mrcnn.{name}"), "THEIRS"))
""",
        tmp_path,
    )
    assert out.split() == "dataset True evaluate False coco True train False helpers True".split()
    porting = (PACKAGE.parent / "docs" / "PORTING.md").read_text()
    assert ", ".join(f"`{name}`" for name in floors) in " ".join(porting.split())
