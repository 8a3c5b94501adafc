"""The training graph of the original's cases (tests/golden/tiny_training.npz), and what is measured on it.

Gradients are read from the weights: one SGD step with rate 1 and no clipping moves every weight by its gradient.
"""

import contextlib
import functools
import json
import tempfile

import keras
import numpy as np
import pytest
from conftest import read_golden
from keras import ops
from tiny import WEIGHTS, tiny_model
from whole import whole

from mrcnn import losses
from mrcnn.models.mask_rcnn import mask_rcnn_losses

INPUTS = ["images", "image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes", "gt_masks", "rois"]
LOSSES = ["rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"]
NO_CLIP = 1e6
TOLERANCE = 2e-5  # of a tensor's largest value

# How far from zero, of a layer's largest value, the input of a ReLU is told from zero: 16 roundings of float32. The
# kernels of processors and libraries (Eigen and oneDNN, SSE4.1 to AVX-512, XLA) differ by up to 6.
NEAR = 16 * 2.0**-23


def gold(case, key):
    """The original's array; keys that are not stored are aliases of others."""
    data = read_golden("tiny_training.npz")
    alias = json.loads(str(data["alias_json"]))
    key = f"{case}/{key}"
    return data[alias.get(key, key)]


def config_of(case):
    return json.loads(str(gold(case, "config_json")))


@functools.cache
def _model(values):
    return tiny_model("training", tempfile.gettempdir(), **json.loads(values))


def build(case, **changes):
    """The training model of a case, with changes of its config and the golden weights; equal configs share one."""
    model = _model(json.dumps({**config_of(case), "GRADIENT_CLIP_NORM": 5.0, **changes}, sort_keys=True))
    model.load_weights(WEIGHTS, by_name=True)  # another test may have trained it
    return model


def inputs_of(case):
    names = INPUTS if not config_of(case)["USE_RPN_ROIS"] else INPUTS[:-1]
    values = [gold(case, f"in_{name}") for name in names]
    whole = ("rpn_match", "gt_class_ids", "gt_masks")
    return [x if name in whole else x.astype("float32") for name, x in zip(names, values, strict=True)]


def predict(model, case):
    """Outputs of the training graph as NumPy arrays, and the five losses."""
    graph = model.keras_model
    outputs = whole(graph, training=True)(inputs_of(case))
    values = whole(lambda outputs: graph.criterion(outputs, **graph.arguments))(outputs)
    return (
        {name: ops.convert_to_numpy(x) for name, x in outputs.items()},
        {name: float(ops.convert_to_numpy(x)) for name, x in values.items()},
    )


def weights_of(model, trained=True):
    """{layer/weight: copy}."""
    graph = model.keras_model
    variables = graph.trainable_variables if trained else graph.non_trainable_variables
    return {"/".join(v.path.split("/")[-2:]): np.array(ops.convert_to_numpy(v)) for v in variables}


def original_losses(monkeypatch, model, case):
    """Restores two deeds of the original, so that its totals, gradients and steps can be compared.

    Its class loss counts padding rows as background and reads image 0's active classes for all images. The mask
    targets are its own: one RoI of case A ends where its instance does, and the original lost to rounding the row and
    column of 28 samples that lie exactly on that edge (`roi_align.EDGE`); see test_targets.
    """
    rois = ops.convert_to_tensor(gold(case, "target_rois"))
    masks = ops.convert_to_tensor(gold(case, "target_mask").astype("float32"))

    def criterion(y, **arguments):
        active = ops.repeat(y["active_class_ids"][:1], 2, axis=0)
        ids = ops.maximum(y["target_class_ids"], 0)
        mine = y["output_rois"][:, : y["mrcnn_mask"].shape[1]]
        row = ops.argmin(ops.sum(ops.abs(mine[:, :, None] - rois[:, None]), axis=-1), axis=-1)
        target = ops.take_along_axis(masks, row[..., None, None], axis=1)
        theirs = mask_rcnn_losses(y | {"target_mask": target}, **arguments)
        return theirs | {"mrcnn_class_loss": losses.class_loss(ids, y["mrcnn_class_logits"], active)}

    monkeypatch.setattr(model.keras_model, "criterion", criterion)


class Steps:
    """SGD steps from the golden weights, eagerly where no step is compiled faster than its operations: logs and change
    of each weight in every step."""

    def __init__(self, model, clip=NO_CLIP, layers=".*"):
        self.model = model
        model.load_weights(WEIGHTS, by_name=True)
        model.set_trainable(layers, verbose=0)
        self.optimizer = keras.optimizers.SGD(1.0, momentum=0.9, global_clipnorm=clip)
        self.compile(self.optimizer)

    def compile(self, optimizer):
        one = keras.backend.backend() == "jax"
        self.model.keras_model.compile(optimizer=optimizer, run_eagerly=not one, jit_compile=one)

    def step(self, inputs, rate):
        self.optimizer.learning_rate.assign(rate)
        before = weights_of(self.model)
        logs = self.train(inputs)
        after = weights_of(self.model)
        return logs, {name: after[name] - before[name] for name in before}

    def train(self, inputs):
        graph = self.model.keras_model
        graph.reset_metrics()
        return {name: float(x) for name, x in graph.train_on_batch(inputs, return_dict=True).items()}

    def gradients(self, inputs):
        """Logs and {weight: gradient} by a first step, after which weights and momentum are as they were."""
        variables, before = self.model.keras_model.trainable_variables, weights_of(self.model)
        logs, change = self.step(inputs, 1.0)
        for variable, value in zip(variables, before.values(), strict=True):
            variable.assign(value)
        for momentum in self.optimizer.momentums:
            momentum.assign(np.zeros(momentum.shape))
        return logs, {name: -x for name, x in change.items()}

    def movement(self, inputs, gradient):
        """By how much the gradients may differ between processors: {weight: array}.

        A ReLU passes the gradient or not. Of the mask head's ten million some see an input within rounding of zero,
        `NEAR`, and on another processor they fall on the other side. Where these pass half the gradient, the result
        lies amid all that they may give, and twice its distance from one of these spans the others; twice that, as what
        several ReLUs do to one number cancels in part.
        """
        with half_open(self.model.keras_model):
            self.compile(self.optimizer)
            _, amid = self.gradients(inputs)
        self.compile(self.optimizer)
        return {name: 4 * (amid[name] - gradient[name]) for name in gradient}


@contextlib.contextmanager
def half_open(graph):
    """Within, ReLUs that see `NEAR` zero pass half of the gradient; what they compute is the same."""

    def activation(x):
        near = ops.cast(ops.abs(x) < NEAR * ops.max(ops.abs(x)), x.dtype)
        slope = near / 2 + (1 - near) * ops.cast(x > 0, x.dtype)
        through = x * ops.stop_gradient(slope)
        return through + ops.stop_gradient(ops.relu(x) - through)

    every = graph._flatten_layers(include_self=False, recursive=True)
    relus = [layer for layer in every if getattr(layer, "activation", None) is keras.activations.relu]
    assert len(relus) == 13
    for layer in relus:
        layer.activation = activation
    yield
    for layer in relus:
        layer.activation = keras.activations.relu


@functools.cache
def gradients_of(case, of=None):
    """Logs, gradients and their movement of a case with the original's deeds, and its mask targets of case `of`; then
    the logs of two steps of 0.001, where these are compiled already."""
    model = build(case)
    with pytest.MonkeyPatch.context() as patch:
        original_losses(patch, model, of or case)
        steps = Steps(model)
        inputs = inputs_of(case)
        logs, gradient = steps.gradients(inputs)
        more = [steps.step(inputs, 0.001)[0] for _ in range(2 * (keras.backend.backend() == "jax"))]
        steps = Steps(model)
        return logs, gradient, steps.movement(inputs, gradient), more


def close(result, expected, name="", tolerance=TOLERANCE, slack=0.0):
    """Equal within `tolerance` of the largest value, and `slack` besides."""
    atol = tolerance * np.abs(expected).max() + slack + 1e-9
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol, err_msg=name)


def stored(case, kind, names):
    """(name, array) of the weights whose change is stored whole; the others only have a norm."""
    for name in names:
        try:
            yield name, gold(case, f"{kind}/{name}")
        except KeyError:
            continue
