"""Files are whole or not there; one process has a folder for itself."""

import errno
from pathlib import Path

import pytest

from mrcnn.ops.files import lock, named, whole


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "model.v2.h5"
    path.write_text("old")
    with whole(path) as new:
        assert new.parent == tmp_path and new.suffix == ".h5"  # by which some libraries know what to write
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_error_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(type(error)), whole(path) as new:
        new.write_text("ha")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_full_disk_says_has_the_path(tmp_path):
    path = tmp_path / "x.json"
    for context in (named, whole):
        with pytest.raises(OSError, match=rf"No space left on device: '{path}'$"), context(path):
            raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError, match="'elsewhere'$"), named(path):  # it has one
        Path("elsewhere").read_text()
    with pytest.raises(OSError, match="^a line of ours$"), named(path):
        raise OSError("a line of ours")


@pytest.mark.parametrize("own", ["os.getpid", "threading.get_ident"])
def test_processes_and_threads_write_files_of_their_own(tmp_path, monkeypatch, own):
    """Two that write one file at a time: it is whole, and that of the last."""
    path = tmp_path / "x.json"
    with whole(path) as new:
        new.write_text("first")
        monkeypatch.setattr(own, lambda: 0)
        with whole(path) as other:
            other.write_text("second")
            assert new.read_text() == "first"
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_one_has_the_lock_until_it_is_closed(tmp_path):
    path = tmp_path / "x"
    with open(path, "w") as first, open(path, "w") as second:
        assert lock(first) and not lock(second)
        first.close()
        assert lock(second)
