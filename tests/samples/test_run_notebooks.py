"""samples/run_notebooks.py: how the notebooks begin, for Google Colab."""

import sys
import types

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import run_notebooks


def read(name):
    return nbformat.read(ROOT / "samples" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", run_notebooks.NAMES)
def test_they_begin_as_setup_cfg_says(name):
    """If not: python samples/run_notebooks.py --colab."""
    notebook = read(name)
    saved = [cell.source for cell in notebook.cells]
    run_notebooks.begin(notebook, name, run_notebooks.address())
    assert [cell.source for cell in notebook.cells] == saved and saved[0].startswith("# ")


@pytest.mark.parametrize(
    ("address", "fetch"), [(None, "unzip -q mrcnn.zip"), ("a/b", "git clone -q https://github.com/a/b")]
)
def test_google_colab(address, fetch, monkeypatch, tmp_path):
    """A badge where there is an address; the first code fetches and installs in Google Colab, and nothing elsewhere."""
    notebook, called = read("demo"), []
    count = len(notebook.cells)
    run_notebooks.begin(notebook, "demo", address)
    assert len(notebook.cells) == count
    badge = "github/a/b/blob/main/samples/demo.ipynb" in notebook.cells[1].source
    assert badge == bool(address) and ("upload" in notebook.cells[1].source) != badge
    shell = types.SimpleNamespace(system=called.append, run_line_magic=lambda *words: called.append(" ".join(words)))
    code = TransformerManager().transform_cell(notebook.cells[2].source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    exec(code, {"get_ipython": lambda: shell})
    assert not called
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(code, {"get_ipython": lambda: shell})
    assert called[0].startswith(fetch) and called[1:] == ["pip install -q ./mrcnn", "cd mrcnn/samples"]
    assert sys.path[0] == ""  # the folder that it went to
    called.clear()
    (tmp_path / "mrcnn").mkdir()  # begun again, it is there
    exec(code, {"get_ipython": lambda: shell})
    assert called == ["cd mrcnn/samples"]
    called.clear()
    monkeypatch.chdir(ROOT / "samples")  # run once more
    exec(code, {"get_ipython": lambda: shell})
    assert not called


@pytest.mark.parametrize(
    ("line", "found"),
    [("", None), ("url = https://github.com/a/b.c", "a/b.c"), ("url = https://x.org/a/b", ValueError)],
)
def test_the_address_is_in_setup_cfg(line, found, tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text(f"[metadata]\nname = %\n{line}\n")
    monkeypatch.setattr(run_notebooks, "FOLDER", tmp_path / "samples")
    if found is ValueError:
        with pytest.raises(ValueError, match="url is https://x.org/a/b; notebooks need https://github.com/OWNER/NAME"):
            run_notebooks.address()
    else:
        assert run_notebooks.address() == found
