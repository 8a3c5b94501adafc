import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LIGHT, read_golden

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mrcnn"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
API = read_golden("api.json")

# The names of 2017-2019, in which nobody inside the package may look for anything.
OLD = ["mrcnn.config", "mrcnn.model", "mrcnn.parallel_model", "mrcnn.utils", "mrcnn.visualize"]

# What the rooms of each floor may import from those of others, at any place and for any purpose, hints included.
FLOORS = {
    "__main__": "cli",
    "cli": "",
    "ops": "",
    "settings": "ops",
    "weights": "cli ops settings",
    "data": "ops settings weights",
    "evaluate": "ops settings weights data",
    "train": "ops settings weights data",
    "layers": "ops",
    "losses": "ops",
    "export": "cli ops settings data",
    "models": "ops settings weights data evaluate train layers losses export",
    "draw": "ops settings weights data evaluate train layers losses export models",
    "compat": "ops settings weights data evaluate train layers losses export models draw",
}

# In lines.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def imports(path):
    """Full names of what a module imports: [(name, whether at its top)]; an imported object counts as a name, as does
    what is imported for hints alone."""
    found = []

    def visit(node, top):
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.extend((f"{node.module}.{alias.name}", top) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child, top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(path.read_text()), True)
    return found


def rooms(module):
    """The modules of the package that a module imports, or of whose names it imports some."""
    found = set()
    for name, _ in imports(MODULES[module]):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", "mrcnn", module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    floor = module.split(".")[1] if "." in module else ""
    others = {name.split(".")[1] for name in rooms(module)} - {floor}
    assert not rooms(module) & set(OLD), f"{module} uses an old name"
    assert "compat" not in others or module in OLD, f"{module} uses what is for old scripts"
    if module not in ("mrcnn", *OLD):
        assert others <= set(FLOORS[floor].split())


def test_no_circles():
    """None of any kind. A package's own file, `__init__`, only lists what is in its rooms."""
    graph = {module: rooms(module) for module in MODULES}
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    for module in set(MODULES) - packages:
        graph[module] = {name for name in graph[module] if not module.startswith(f"{name}.")}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert len(order) == len(MODULES) > 80
    assert order.index("mrcnn.ops.boxes") < order.index("mrcnn.layers.rpn") < order.index("mrcnn.models.mask_rcnn")


@pytest.mark.parametrize("module", MODULES)
def test_no_backend_at_the_top(module):
    top = {name.split(".")[0] for name, at_top in imports(MODULES[module]) if at_top}
    assert not top & {"tensorflow", "jax", "torch", "tf_keras"}


@pytest.mark.parametrize("folder", ["mrcnn", "samples", "tests", "benchmarks"])
def test_files_and_functions_are_short(folder):
    long = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        if text.count("\n") > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}, {lines} lines")
    assert long == []


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
for room in ("model", "evaluate", "visualize", "data.coco", "draw.video"):
    importlib.import_module("mrcnn." + room)
print("loaded", sorted({{"cv2", "imgaug"}} & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=LIGHT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["light []", "loaded []"]


@pytest.mark.parametrize("module", MODULES)
def test_who_imports_imgaug_and_cv2(module):
    users = {name.split(".")[0] for name, _ in imports(MODULES[module])} & {"cv2", "imgaug"}
    assert users == {"mrcnn.data.imgaug": {"imgaug"}, "mrcnn.ops.opencv": {"cv2"}}.get(module, set())


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


@pytest.mark.parametrize("module, name, signature", list(signatures()))
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
