"""Evaluation while a model trains: what it tells, which weights it keeps, when it ends a training, how it goes on.

The model is one weight, a level that is set before each epoch; the detector that `Evaluation` makes gets it by
`weights.copy` and answers by it.
"""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from squares import PERFECT, Squares, SquaresConfig, found

from mrcnn import weights
from mrcnn.evaluate import Evaluation
from mrcnn.evaluate.during_training import stored_record
from mrcnn.train.checkpoints import Checkpoints

pytestmark = pytest.mark.graph

# Detections of mask AP 0, 0.5 and 1.
LEVELS = [[found()] * 3, [PERFECT[0], found(), found()], PERFECT]


class Trained:
    """Stands for a `MaskRCNN`."""

    def __init__(self, mode, config, model_dir, epoch=0):
        if mode == "inference":
            assert (config.GPU_COUNT, config.DETECTION_MIN_CONFIDENCE) == (1, 0.05)
        self.config, self.model_dir, self.epoch, self.record = config, model_dir, epoch, {}
        self.checkpoint_path = str(model_dir / "mask_rcnn_x_{epoch:04d}.h5")
        self.keras_model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="level")])
        self.level = self.keras_model.weights[0]
        if epoch:  # as `load_weights` does
            self.record = stored_record(self.checkpoint_path.format(epoch=epoch))

    def save_weights(self, path):
        weights.write(self.keras_model, path, "training", self.record)

    def detect(self, images, verbose=0, rle=False):
        return [LEVELS[int(self.level.numpy()[0, 0])][image[0, 0, 0]] for image in images]

    def train(self, evaluation, until, levels, layers=1):
        """Epochs until `until`, of the levels in turn, and their logs; a training ends where the levels do, as if
        killed. One of no layers has nothing to change."""
        levels, logs = iter(levels), []

        def begin(epoch, _):
            self.level.assign([[next(levels)]])

        self.keras_model.trainable = bool(layers)
        self.keras_model.compile("sgd", lambda y, x: 0 * x, run_eagerly=True)
        callbacks = [
            keras.callbacks.LambdaCallback(on_epoch_begin=begin),
            evaluation,
            Checkpoints(self),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, x: logs.append(dict(x))),
        ]
        x = np.ones((1, 1))
        try:
            self.keras_model.fit(x, x, initial_epoch=self.epoch, epochs=until, callbacks=callbacks, verbose=0)
        except (StopIteration, RuntimeError) as error:
            assert "StopIteration" in repr(error)
        return logs


def trained(folder, epoch=0):
    return Trained("training", SquaresConfig().update(GPU_COUNT=2), folder, epoch)


def best(folder):
    """The level of the weights that are kept, and the epoch that they are said to be of."""
    level = weights.read(folder / "mask_rcnn_x_best.h5")["level"]["kernel"][0, 0]
    record = stored_record(folder / "mask_rcnn_x_best.h5")
    assert record["AP"] == pytest.approx(level / 2)
    return level, record["epoch"]


def test_it_tells_and_keeps_the_best_and_ends(tmp_path, capsys):
    model = trained(tmp_path)
    logs = model.train(Evaluation(model, Squares(), every=2, patience=2), 40, [0, 0, 1, 2, 2, 2, 0, 2, 2])
    # Equal is not better.
    assert [x.get("mask_AP") for x in logs] == [None, 0, None, 1, None, 1, None, 1]
    assert set(logs[1]) - set(logs[0]) == {"box_AP", "box_AP50", "mask_AP", "mask_AP50"}
    assert best(tmp_path) == (2, 4) and model.epoch == 8
    printed = capsys.readouterr().out
    assert "box AP 0.000, mask AP 0.000 (best so far 0.000)" in printed
    assert "box AP 1.000, mask AP 1.000 (best so far 1.000)" in printed
    assert "No better AP in 2 evaluations: training ends after epoch 8 of 40." in printed


def test_every_training_has_its_own_patience(tmp_path):
    model = trained(tmp_path)
    evaluation = Evaluation(model, Squares(), patience=2)
    model.train(evaluation, 40, [1, 0, 0, 2])
    assert model.epoch == 3
    # The next one goes on from there; a worse epoch of the one before does not count.
    model.train(evaluation, 120, [0, 2, 1, 0, 2])
    assert model.epoch == 7 and best(tmp_path) == (2, 5)
    # The best of all is kept.
    model.train(evaluation, 120, [1, 1, 2])
    assert model.epoch == 9 and best(tmp_path) == (2, 5)


@pytest.mark.parametrize(
    "epoch, until, layers, images, expected",
    [
        (3, 40, 1, 3, (5, (2, 1))),  # two worse evaluations are behind it, two more end it
        (2, 40, 1, 3, (5, (2, 1))),  # the checkpoint of epoch 3 was not written: that is evaluated again
        (3, 60, 1, 3, (7, (2, 1))),  # another training: it has all its patience
        (3, 40, 0, 3, (7, (2, 1))),  # of other layers
        (3, 40, 1, 2, (8, (1, 4))),  # other images: nothing is known of these
        (0, 40, 1, 3, (5, (1, 1))),  # a new run, in a folder of the same name
    ],
)
def test_a_resumed_run_knows_what_it_had_learned(epoch, until, layers, images, expected, tmp_path):
    first = trained(tmp_path)
    first.train(Evaluation(first, Squares(), patience=4), 40, [2, 0, 0])
    assert first.epoch == 3
    model = trained(tmp_path, epoch)
    model.train(Evaluation(model, Squares(), limit=images, patience=4), until, [1] * 20, layers)
    assert (model.epoch, best(tmp_path)) == expected


def test_a_checkpoint_that_was_brought_elsewhere(tmp_path, capsys):
    """Alone, without the best weights: what is worse than these is not kept as the best, and patience counts on."""
    first = trained(tmp_path / "here")
    first.model_dir.mkdir()
    first.train(Evaluation(first, Squares(), patience=4), 40, [2, 0, 0])
    (tmp_path / "there").mkdir()
    name = "mask_rcnn_x_0003.h5"
    (tmp_path / "there" / name).write_bytes((tmp_path / "here" / name).read_bytes())
    model = trained(tmp_path / "there", 3)
    model.train(Evaluation(model, Squares(), patience=4), 40, [1] * 20)
    assert model.epoch == 5 and not (tmp_path / "there" / "mask_rcnn_x_best.h5").exists()
    assert f"The best weights so far, of AP 1.000, are not in {tmp_path / 'there'}" in capsys.readouterr().out


def test_record_of_a_run(tmp_path):
    model = trained(tmp_path)
    model.train(Evaluation(model, Squares(), limit=2), 2, [1, 2])
    record = {"AP": 1, "epoch": 2, "images": 2, "since": 0, "until": 2, "weights": 1}
    assert stored_record(tmp_path / "mask_rcnn_x_0002.h5") == record
    assert stored_record(tmp_path / "mask_rcnn_x_0001.h5") == record | {"AP": 0.5, "epoch": 1}
    model.record = {}
    model.save_weights(tmp_path / "plain.h5")
    assert stored_record(tmp_path / "plain.h5") == {} == stored_record(tmp_path / "none.h5")


def test_copied_weights_have_memory_of_their_own():
    """On JAX a jitted step donates the arrays of its weights."""
    graphs = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")]) for _ in range(2)]
    expected = [np.array(w.numpy()) for w in graphs[0].weights]
    weights.copy(*graphs)
    for graph in reversed(graphs):
        graph.predict(np.ones((1, 3)), verbose=0)
        for weight, value in zip(graph.weights, expected, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)
    graphs[1].weights[0].assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(graphs[0].weights[0].numpy(), expected[0])


def test_folded_layers_take_no_weights():
    layer = SimpleNamespace(name="dense", folded=True, weights=[SimpleNamespace(path="dense/kernel", name="kernel")])
    with pytest.raises(ValueError, match="dense is folded"):
        weights.copy(SimpleNamespace(layers=[]), SimpleNamespace(layers=[layer]))


def test_numbers_that_cannot_be():
    """Every 0 epochs failed after the first one."""
    for wrong, words in (
        ({"every": 0}, "every is 0; it must be at least 1"),
        ({"patience": 1.5}, "patience is 1.5; it must be a whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            Evaluation(None, None, **wrong)
