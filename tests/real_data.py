"""Real annotated images for tests; they are no part of the repository."""

import os
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def real_data(name):
    """Folder `name` of the real data in $MRCNN_DATA, else ../shared/data; without it the test is skipped."""
    folder = Path(os.environ.get("MRCNN_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"real images are not there: {folder} (set MRCNN_DATA to their folder)")
    return folder


def seeded_weights(folder):
    """The functions by name of a folder's seeded_weights.py: that of another folder is another module."""
    return runpy.run_path(str(folder / "seeded_weights.py"))
