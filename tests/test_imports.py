import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import read_golden

PACKAGE = Path(__file__).resolve().parent.parent / "mrcnn"
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
API = read_golden("api.json")

# What each room may import from the others (DESIGN, section 2). A room may also use those beside it in its own line, as
# long as no circle comes about.
BASE = "config boxes "
ARRAYS = BASE + "anchors masks keypoints images "
LAYERS = ARRAYS + "backbone fpn rpn roi_align heads targets detection losses "
DATA = LAYERS + "augment data download weights training "
ALLOWED = {
    **dict.fromkeys(BASE.split(), ""),
    **dict.fromkeys(["anchors", "keypoints", "images"], ARRAYS),
    "masks": ARRAYS + "opencv",
    "validate": "",
    "opencv": "",
    "video": "opencv",
    "dataset": ARRAYS + "validate",
    "metrics": ARRAYS,
    "utils": ARRAYS + "dataset metrics weights",  # the old names; weights for a download, within a function
    **dict.fromkeys(["backbone", "fpn", "rpn", "roi_align", "heads", "targets", "detection", "losses"], LAYERS),
    "augment": "keypoints",
    "download": "",
    "weights": "download",
    "convert": ARRAYS + "weights",
    "training": BASE + "weights",
    "data": ARRAYS + "targets augment",
    "parallel_model": "",
    "graph": LAYERS + "weights parallel_model",
    "model": DATA + "graph parallel_model validate convert",
    "formats": ARRAYS + "dataset",
    "coco": ARRAYS + "dataset download",
    "evaluate": ARRAYS + "dataset metrics coco weights",
    "draw": "boxes keypoints",
    "visualize": "utils draw",
}


def imports(module):
    """Full names of what a room imports: [(name, at the top of the module)]; an imported object counts as a name. What
    is imported for hints alone, under TYPE_CHECKING, is not imported when the room is."""
    found = []

    def visit(node, top):
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            found.extend((f"{node.module}.{alias.name}", top) for alias in node.names)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        for child in ast.iter_child_nodes(node):
            visit(child, top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse((PACKAGE / f"{module}.py").read_text()), True)
    return found


def rooms(module):
    return {name.split(".")[1] for name, _ in imports(module) if name.startswith("mrcnn.")}


@pytest.mark.parametrize("module", MODULES)
def test_import_direction(module):
    assert rooms(module) <= set(ALLOWED[module].split()), f"mrcnn/{module}.py"


def test_no_circles():
    order = list(graphlib.TopologicalSorter({module: rooms(module) for module in MODULES}).static_order())
    assert order.index("boxes") < order.index("targets") < order.index("data") < order.index("model")


@pytest.mark.parametrize("module", MODULES)
def test_no_backend_at_the_top(module):
    top = {name.split(".")[0] for name, at_top in imports(module) if at_top}
    assert not top & {"tensorflow", "jax", "torch", "tf_keras"}, f"mrcnn/{module}.py"


@pytest.mark.parametrize("blocked", [False, True])
def test_import_needs_neither_cv2_nor_imgaug(blocked):
    """Keras itself imports cv2 where it is installed; the package adds nothing to that, and works without it."""
    code = f"""
import importlib, sys
if {blocked}:
    sys.modules["cv2"] = sys.modules["imgaug"] = None
import mrcnn
print("light", sorted({{"keras", "numpy"}} & set(sys.modules)))
import keras
before = set(sys.modules)
for room in ("model", "evaluate", "visualize", "coco", "video"):
    importlib.import_module("mrcnn." + room)
print("loaded", sorted({{"cv2", "imgaug"}} & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["light []", "loaded []"]


@pytest.mark.parametrize("module", MODULES)
def test_who_imports_imgaug_and_cv2(module):
    users = {name.split(".")[0] for name, _ in imports(module)} & {"cv2", "imgaug"}
    assert users == {"augment": {"imgaug"}, "opencv": {"cv2"}}.get(module, set())


# The original's names

LAYER_CLASSES = ["BatchNorm", "DetectionLayer", "DetectionTargetLayer", "ProposalLayer", "PyramidROIAlign"]


def signatures():
    """(module, dotted name, the original's signature) of functions and of methods of classes that are no layers."""
    for module, names in API.items():
        for name, entry in names.items():
            if isinstance(entry, str):
                yield module, name, entry
            elif name not in LAYER_CLASSES:
                for method, signature in entry["methods"].items():
                    yield module, f"{name}.{method}", signature


@pytest.mark.parametrize("module", API)
def test_every_old_name_is_there(module):
    room = importlib.import_module(module)
    assert [name for name in API[module] if not hasattr(room, name)] == []


@pytest.mark.parametrize("module, name, signature", signatures())
def test_old_parameters_come_first(module, name, signature):
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    scope = {}
    exec(f"def original{signature}: pass", scope)
    original = list(inspect.signature(scope["original"]).parameters.values())
    ours = list(inspect.signature(found).parameters.values())
    assert [(p.name, p.default, p.kind) for p in ours[: len(original)]] == [
        (p.name, p.default, p.kind) for p in original
    ]
    assert all(p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in ours[len(original) :])


def test_attributes_of_old_classes():
    model = importlib.import_module("mrcnn.model")
    for name in LAYER_CLASSES:
        assert inspect.isclass(getattr(model, name)), name
    for module, name in (("mrcnn.config", "Config"), ("mrcnn.utils", "Dataset")):
        for attribute in API[module][name]["attributes"]:
            assert hasattr(getattr(importlib.import_module(module), name), attribute), attribute
