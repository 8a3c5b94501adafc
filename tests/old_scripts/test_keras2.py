"""What services and forks ask of `keras_model`, written for Keras 2."""

import multiprocessing

import keras
import numpy as np
import pytest
from old_set import OldConfig, old_dataset
from tiny import WEIGHTS

import mrcnn.model as modellib
from mrcnn.model import data_generator, log, tf

LOSSES = ["rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"]


class OldTrainer(modellib.MaskRCNN):
    """A model whose owner wrote training anew, as many did to add callbacks."""

    def compile(self, learning_rate, momentum):
        optimizer = keras.optimizers.SGD(
            learning_rate, momentum=momentum, global_clipnorm=self.config.GRADIENT_CLIP_NORM
        )
        self.keras_model._losses = []
        self.keras_model._per_input_losses = {}
        for name in LOSSES:
            layer = self.keras_model.get_layer(name)
            if layer.output in self.keras_model.losses:
                continue
            loss = tf.reduce_mean(layer.output, keepdims=True) * self.config.LOSS_WEIGHTS.get(name, 1.0)
            self.keras_model.add_loss(loss)
        reg_losses = [
            keras.regularizers.l2(self.config.WEIGHT_DECAY)(w) / tf.cast(tf.size(w), tf.float32)
            for w in self.keras_model.trainable_weights
            if "gamma" not in w.name and "beta" not in w.name
        ]
        self.keras_model.add_loss(tf.add_n(reg_losses))
        self.keras_model.compile(optimizer=optimizer, loss=[None] * len(self.keras_model.outputs))
        for name in [*LOSSES, "other"]:
            if name in self.keras_model.metrics_names:
                continue
            self.keras_model.metrics_names.append(name)
            loss = tf.zeros(())
            self.keras_model.metrics_tensors.append(loss)
            self.keras_model.add_metric(loss, name=name, aggregation="mean")

    def train(self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None):
        layer_regex = {"heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", "all": ".*"}
        train_generator = data_generator(
            train_dataset, self.config, shuffle=True, augmentation=augmentation, batch_size=self.config.BATCH_SIZE
        )
        val_generator = data_generator(val_dataset, self.config, shuffle=True, batch_size=self.config.BATCH_SIZE)
        log("\nStarting at epoch {}. LR={}\n".format(self.epoch, learning_rate))
        log("Checkpoint Path: {}".format(self.checkpoint_path))
        self.set_trainable(layer_regex.get(layers, layers))
        self.compile(learning_rate, self.config.LEARNING_MOMENTUM)
        self.history = self.keras_model.fit_generator(
            train_generator,
            initial_epoch=self.epoch,
            epochs=epochs,
            steps_per_epoch=self.config.STEPS_PER_EPOCH,
            callbacks=[keras.callbacks.TensorBoard(log_dir=self.log_dir, histogram_freq=0, write_graph=False)],
            validation_data=val_generator,
            validation_steps=self.config.VALIDATION_STEPS,
            max_queue_size=100,
            workers=multiprocessing.cpu_count(),
            use_multiprocessing=True,
        )
        self.epoch = max(self.epoch, epochs)


class NarrowConfig(OldConfig):
    TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_CHANNELS = FPN_CLASSIF_FC_LAYERS_SIZE = 16


@pytest.fixture
def trainer(tmp_path):
    return OldTrainer(mode="training", config=NarrowConfig(), model_dir=str(tmp_path))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    model = modellib.MaskRCNN(mode="inference", config=OldConfig(), model_dir=str(folder))
    model.load_weights(str(WEIGHTS), by_name=True)
    return model


def test_a_train_method_of_ones_own(trainer, tmp_path):
    """Its losses and their L2 term are counted once, as a train method of ours counts them."""
    dataset = old_dataset()
    before = trainer.keras_model.get_layer("mrcnn_class_logits").get_weights()[0]
    with pytest.warns(
        UserWarning, match="add_loss and add_metric do nothing: the losses and the L2 term are in the gr"
    ):
        trainer.train(dataset, dataset, learning_rate=1e-4, epochs=1, layers="heads")
    logs = trainer.history.history
    assert trainer.epoch == 1 and {*LOSSES, "loss", "val_loss", "val_mrcnn_mask_loss"} <= set(logs)
    decay = logs["loss"][0] - sum(logs[name][0] for name in LOSSES)
    assert 0 < decay < 1e-3
    assert np.abs(trainer.keras_model.get_layer("mrcnn_class_logits").get_weights()[0] - before).max() > 0
    trainer.train(dataset, dataset, learning_rate=1e-4, epochs=2, layers="all")
    assert trainer.epoch == 2


def test_fit_of_a_generator_and_of_one_batch(trainer):
    dataset, graph = old_dataset(), trainer.keras_model
    batches = data_generator(dataset, trainer.config, shuffle=False, batch_size=1)
    trainer.set_trainable(".*", verbose=0)
    modellib.MaskRCNN.compile(trainer, 0.0, 0.9)
    history = graph.fit(
        batches,
        steps_per_epoch=2,
        epochs=1,
        validation_data=next(batches),
        workers=2,
        use_multiprocessing=False,
        max_queue_size=10,
        verbose=0,
    )
    assert {"loss", "val_loss"} <= set(history.history)
    inputs, outputs = next(data_generator(dataset, trainer.config, shuffle=False, batch_size=1))
    first = graph.train_on_batch(inputs, outputs, return_dict=True)
    again = graph.fit(inputs, outputs, batch_size=1, verbose=0)
    assert first["rpn_class_loss"] == pytest.approx(again.history["rpn_class_loss"][0], rel=1e-4)


def test_a_service_predicts(detector):
    """One that makes its predict function before its threads start, and calls the graph itself."""
    detector.keras_model._make_predict_function()
    image = old_dataset().load_image(1)
    molded, metas, windows = detector.mold_inputs([image])
    anchors = detector.get_anchors(molded[0].shape)
    anchors = np.broadcast_to(anchors, (detector.config.BATCH_SIZE,) + anchors.shape)
    detections, _, _, mrcnn_mask, _, _, _ = detector.keras_model.predict([molded, metas, anchors], verbose=0)
    rois, class_ids, scores, masks = detector.unmold_detections(
        detections[0], mrcnn_mask[0], image.shape, molded[0].shape, windows[0]
    )
    found = detector.detect([image])[0]
    assert len(rois) > 0 and (rois == found["rois"]).all() and (class_ids == found["class_ids"]).all()
    np.testing.assert_allclose(scores, found["scores"], atol=1e-5)
    assert (masks == found["masks"]).mean() > 0.999


def test_weights_by_name_into_the_graph(detector, tmp_path, capsys):
    path = str(tmp_path / "weights.h5")
    detector.keras_model.save_weights(path)
    layer = detector.keras_model.get_layer("mrcnn_class_logits")
    kept = layer.get_weights()
    layer.set_weights([np.zeros_like(values) for values in kept])
    detector.keras_model.load_weights(path, by_name=True)
    assert "Loaded 37 layers" in capsys.readouterr().out
    assert (layer.get_weights()[0] == kept[0]).all()


def test_the_class_of_the_graph_and_what_is_saved_stay_as_they_are(detector):
    graph = detector.keras_model
    assert type(graph).__module__ == "mrcnn.models.graph" and "fit_generator" not in dir(type(graph))
    assert not hasattr(type(graph).from_config(graph.get_config()), "fit_generator")


def test_what_find_last_gave_in_early_2018(detector, tmp_path):
    with pytest.raises(FileNotFoundError, match="No checkpoint of 'old' under"):
        detector.find_last()
    run = tmp_path / "old20180203T0405"
    run.mkdir()
    (run / "mask_rcnn_old_0007.h5").write_bytes(WEIGHTS.read_bytes())
    model = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    model.model_dir, model.config = str(tmp_path), OldConfig()
    found = model.find_last()
    assert found == found[1] == str(run / "mask_rcnn_old_0007.h5") and found[0] == str(run)
    assert found[-3:] == ".h5" and isinstance(found, str) and type(found[1]) is str
    detector.load_weights(found[1], by_name=True)
    assert detector.epoch == 7


def test_another_size_after_building(detector):
    """`config.IMAGE_MAX_DIM = ...` of a model that is there, in mode "square"."""
    config = detector.config
    kept = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM
    image = old_dataset().load_image(1)
    small = detector.detect([image])[0]
    config.IMAGE_MIN_DIM = config.IMAGE_MAX_DIM = 192
    large = detector.detect([image])[0]
    config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM = kept
    assert large["masks"].shape[:2] == image.shape[:2] and len(large["rois"])
    assert len(detector.anchors) == 9207  # 3 x (48^2 + 24^2 + 12^2 + 6^2 + 3^2)
    assert (detector.detect([image])[0]["rois"] == small["rois"]).all()
