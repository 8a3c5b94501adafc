"""The folder of a run."""

import datetime
from pathlib import Path

import pytest

from mrcnn.train.run import find_last, run_of


@pytest.mark.parametrize("name, key", [("Toys", "toys"), (None, "mrcnn")])
def test_a_new_run_is_named_after_now(name, key):
    before = datetime.datetime.now().replace(second=0, microsecond=0)
    run = run_of("logs", name)
    time = datetime.datetime.strptime(Path(run.log_dir).name, f"{key}%Y%m%dT%H%M")
    assert before <= time <= datetime.datetime.now() and run.epoch == 0
    assert Path(run.checkpoint_path.format(epoch=7)) == Path(run.log_dir, f"mask_rcnn_{key}_0007.h5")


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_checkpoint_tells_its_run(separator):
    run = run_of("logs", "toys", separator.join(["elsewhere", "toys20200102T0304", "mask_rcnn_toys_0012.h5"]))
    assert Path(run.log_dir) == Path("logs", "toys20200102T0304") and run.epoch == 12


@pytest.mark.parametrize(
    "file", ["mask_rcnn_coco.h5", "toys20200102T0304/mask_rcnn_toys_best.h5", "toys/mask_rcnn_toys_0012.h5"]
)
def test_other_weights_begin_a_run(file):
    run = run_of("logs", "toys", file)
    assert run.epoch == 0 and run == run_of("logs", "toys")


def test_the_last_checkpoint_is_that_of_the_last_run_that_has_one(tmp_path):
    files = [
        "toys20200101T0000/mask_rcnn_toys_0009.h5",
        "toys20200102T0000/mask_rcnn_toys_0001.h5",
        "toys20200102T0000/mask_rcnn_toys_0002.h5",
        "toys20200102T0000/mask_rcnn_toys_0003.h5.part",
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
