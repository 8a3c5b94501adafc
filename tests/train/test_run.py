"""The folder of a run."""

import datetime
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mrcnn.train.run import claimed, find_last, run_of


def checkpoint(folder, epoch, name="toys"):
    """An empty file that has the name of a checkpoint."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"mask_rcnn_{name}_{epoch:04d}.h5"
    path.touch()
    return path


@pytest.mark.parametrize("name, key", [("Toys", "toys"), (None, "mrcnn")])
def test_a_new_run_is_named_after_now(name, key):
    before = datetime.datetime.now().replace(second=0, microsecond=0)
    run = run_of("logs", name)
    time = datetime.datetime.strptime(Path(run.log_dir).name, f"{key}%Y%m%dT%H%M")
    assert before <= time <= datetime.datetime.now() and run.epoch == 0
    assert Path(run.checkpoint_path.format(epoch=7)) == Path(run.log_dir, f"mask_rcnn_{key}_0007.h5")


@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("number", ["", "_2", "_13"])
def test_a_checkpoint_tells_its_run(separator, number):
    folder = f"toys20200102T0304{number}"
    run = run_of("logs", "Toys", separator.join(["elsewhere", folder, "mask_rcnn_toys_0012.h5"]))
    assert Path(run.log_dir) == Path("logs", folder) and run.epoch == 12
    assert run_of("logs", "toys", f"{folder}/mask_rcnn_toys_12345.h5").epoch == 12345


@pytest.mark.parametrize(
    "file",
    [
        "mask_rcnn_coco.h5",
        "toys20200102T0304/mask_rcnn_toys_best.h5",
        "toys/mask_rcnn_toys_0012.h5",
        # Of runs of other names.
        "coco20200102T0304/mask_rcnn_coco_0160.h5",
        "newtoys20200102T0304/mask_rcnn_newtoys_0160.h5",
        "toys20200102T0304/mask_rcnn_newtoys_0160.h5",
        "newtoys20200102T0304/mask_rcnn_toys_0160.h5",
    ],
)
def test_other_weights_begin_a_run(file):
    run = run_of("logs", "toys", file)
    assert run.epoch == 0 and re.fullmatch(r"toys\d{8}T\d{4}", Path(run.log_dir).name)


def test_a_checkpoint_of_another_detector_begins_a_run(tmp_path):
    """Its folder then held the checkpoints and the config of both."""
    file = checkpoint(tmp_path / "toys20200102T0304", 12)
    for text, epoch in (('{"DETECTOR": "fcos"}', 12), ('{"DETECTOR": "ssd"}', 0), ("{}", 12), ("[]", 12), ("{", 12)):
        (file.parent / "config.json").write_text(text)
        assert run_of(tmp_path, "toys", file, "fcos").epoch == epoch


def test_the_last_checkpoint_is_that_of_the_last_run_that_has_one(tmp_path):
    files = [
        "toys20200101T0000/mask_rcnn_toys_0009.h5",
        "toys20200102T0000/mask_rcnn_toys_0001.h5",
        "toys20200102T0000/mask_rcnn_toys_0002.h5",
        "toys20200102T0000/mask_rcnn_toys_0003.new.h5",
        "toys20200102T0000/mask_rcnn_toys_best.h5",
        "toys20200103T0000/config.json",
        "toystory20200104T0000/mask_rcnn_toystory_0001.h5",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert find_last(tmp_path, "Toys") == str(tmp_path / files[2])
    for name, folder in (("bears", tmp_path), ("toys", tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match=f"No checkpoint of '{name}'"):
            find_last(folder, name)


def test_runs_of_one_minute_and_many_epochs_are_sorted_by_number(tmp_path):
    for number in ("", "_2", "_10"):
        checkpoint(tmp_path / f"toys20200102T0000{number}", 9999)
    last = checkpoint(tmp_path / "toys20200102T0000_10", 10000)
    assert find_last(tmp_path, "toys") == str(last)


def test_every_run_gets_a_folder_of_its_own(tmp_path):
    """At the same moment too; the name of the folder that contains them may have braces."""
    run = run_of(tmp_path / "{logs}", "toys")

    def claim(_):
        with claimed(run, "toys") as own:
            return own

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(claim, range(16)))
    folders = {Path(own.log_dir) for own in runs}
    assert len(folders) == 16 and set((tmp_path / "{logs}").iterdir()) == folders
    expected = {Path(run.log_dir).name, *(f"{Path(run.log_dir).name}_{i}" for i in range(2, 17))}
    assert {folder.name for folder in folders} == expected
    for own in runs:
        assert Path(own.checkpoint_path.format(epoch=3)) == Path(own.log_dir, "mask_rcnn_toys_0003.h5")


def test_a_run_goes_on_behind_its_newest_checkpoint_and_no_other(tmp_path):
    folder = tmp_path / "toys20200102T0304"
    checkpoint(folder, 4)
    newest = checkpoint(folder, 5)
    with claimed(run_of(tmp_path, "toys", newest), "toys") as own:
        assert (Path(own.log_dir), own.epoch) == (folder, 5)
    # Epochs 5 and on of another training would be overwritten.
    with claimed(run_of(tmp_path, "toys", folder / "mask_rcnn_toys_0004.h5"), "toys") as own:
        assert (Path(own.log_dir), own.epoch) == (tmp_path / "toys20200102T0304_2", 4)
    # A run of the same minute, made elsewhere.
    with claimed(run_of(tmp_path, "toys", "elsewhere/toys20200102T0304/mask_rcnn_toys_0009.h5"), "toys") as own:
        assert (Path(own.log_dir), own.epoch) == (tmp_path / "toys20200102T0304_3", 9)
    assert sorted(path.name for path in folder.iterdir()) == ["mask_rcnn_toys_0004.h5", "mask_rcnn_toys_0005.h5"]


def test_one_process_trains_in_a_folder(tmp_path):
    run = run_of(tmp_path, "toys", checkpoint(tmp_path / "toys20200102T0304", 5))
    refused = pytest.raises(OSError, match=f"Another process trains in {run.log_dir}; wait for it")
    with claimed(run, "toys"), refused, claimed(run, "toys"):
        pass
    with claimed(run, "toys") as own:  # free again
        assert own == run
