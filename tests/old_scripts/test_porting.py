"""Every statement of docs/PORTING.md is run by a test, the one that is named here; what breaks, below."""

import ast
import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from old_set import OldConfig, old_dataset
from tiny import WEIGHTS

import mrcnn.model as modellib
from mrcnn.train.checkpoints import Checkpoints

TESTS = Path(__file__).parent.parent
PORTING = (TESTS.parent / "docs" / "PORTING.md").read_text()

# How the rows begin -> file: test.
ROWS = {
    "`DataGenerator` ignored": "data/test_batches.py: test_batch_i_is_batch_i",
    "images without instances": "data/test_bad_images.py: test_more_than_a_fifth_bad_ends_the_run",
    "an image of a source": "data/test_bad_images.py: test_an_image_of_a_source_without_classes_is_background",
    "no positive RoI": "models/test_golden_losses.py: test_no_positive_keeps_negatives",
    "padding RoIs counted": "losses/test_losses.py: test_padding_rows_do_not_count",
    "gradients of the heads'": "models/test_golden_gradients.py: test_proposals_are_constants",
    "a crowd was matched": "layers/test_targets.py: test_crowd_threshold",
    "an instance that no anchor": "data/test_rpn_targets.py: test_what_no_anchor_overlaps",
    "the classes of the batch's": "losses/test_losses.py: test_inactive_class_counts_in_its_own_image_only",
    "image_meta took": "data/test_batches.py: test_meta_is_float32_whatever_the_first_image_is",
    "`mold_image`, `mold_inputs`": "old_scripts/test_returns.py: test_types_are_the_recorded_ones",
    "`USE_RPN_ROIS = False`": "data/test_batches.py: test_given_rois",
    "`compute_matches` compared": "evaluate/test_metrics.py: test_score_threshold_is_for_scores",
    "a second `train()`": "train/test_training.py: test_second_train_call_counts_the_losses_once",
    "a resumed run began": "train/test_training.py: test_resumed_run_equals_an_uninterrupted_one",
    "two runs of one minute": "train/test_run.py: test_every_run_gets_a_folder_of_its_own",
    "`detect` wanted exactly": "models/test_model.py: test_detect_any_number_of_images_of_any_size",
    "`detect` of images that": "test_old_scripts.py: test_boxes",
    "weights that fitted nothing": "weights/test_weights.py: test_a_file_that_matches_nothing",
    "ImageNet weights, trained": "weights/test_imagenet.py: test_keras_1_imagenet_file",
    "ImageNet weights were run": "weights/test_imagenet.py: test_the_originals_settings_compute_what_keras_does",
    "weights of another backbone": "weights/test_weights.py: test_a_file_of_another_backbone",
    "RGB weights did not fit": "weights/test_adapt.py: test_rgb_weights_for_other_channels",
    "with several GPUs": "train/test_parallel_model.py: test_two_devices_train_as_one",
    "misspelt settings": "settings/test_config.py: test_a_misspelt_attribute_warns",
    "other entries of LOSS_WEIGHTS": "settings/test_config.py: test_weights_of_other_losses_weigh_nothing",
    "the last layers of the RPN": "models/test_graph.py: test_heads_begin_small",
    "figures that a script": "old_scripts/test_pictures.py: test_submission_with_a_picture_of_each_image",
    "a crop was random": "old_scripts/test_porting.py: test_sizes_and_modes_that_detection_cannot_use",
    "scikit-image of its time": "data/test_resizing.py: test_resize_image",
}

# What stands under "Identical" and "What breaks", by its beginning, likewise.
POINTS = {
    "**Names.**": "old_scripts/test_returns.py: test_what_a_function_returns",
    "**Weights.**": "weights/test_weights.py: test_written_file_has_the_originals_layout",
    "**Numbers.**": "models/test_model.py: test_tensor",
    "**A look inside.**": "old_scripts/test_inspect_model.py: test_stages_of_the_proposals",
    "**Keras 2's calls": "old_scripts/test_keras2.py: test_a_train_method_of_ones_own",
    "**Configs**": "settings/test_config.py: test_old_ways_to_write_a_value",
    "**`find_last()`**": "old_scripts/test_keras2.py: test_what_find_last_gave_in_early_2018",
    "Layer classes": "old_scripts/test_porting.py: test_layers_take_explicit_arguments",
    "Layers of the heads": "old_scripts/test_porting.py: test_layers_of_heads_have_all_rois_behind_each_other",
    "An object in": "old_scripts/test_porting.py: test_annotations_are_records",
    "Entries of COCO's format": "data/test_coco_file.py: test_classes",
    "Code that reaches": "old_scripts/test_porting.py: test_what_went_with_tensorflow_1_and_keras_2",
    "`import imgaug` before": "old_scripts/test_names.py: test_imgaug_after_any_part_of_the_package",
    "`tf.identity(": "old_scripts/test_porting.py: test_what_went_with_tensorflow_1_and_keras_2",
    "`folder, path": "old_scripts/test_porting.py: test_what_went_with_tensorflow_1_and_keras_2",
    "In a `train`": "old_scripts/test_porting.py: test_checkpoints_of_a_train_method_of_ones_own",
    "Functions as `BACKBONE`": "settings/test_config.py: test_functions_on_the_class_need_no_staticmethod",
    "Files of your own": "old_scripts/test_names.py: test_files_of_a_fork_beside_ours",
}


def unmatched(statements, named):
    """Statements of which not exactly one is named, and names of none."""
    found = {text: [start for start in named if text.startswith(start)] for text in statements}
    used = [start for starts in found.values() for start in starts]
    return [text for text, starts in found.items() if len(starts) != 1], sorted(set(named) - set(used))


def test_every_row_has_its_test():
    rows = re.findall(r"^\| (.+?) \| .+ \|$", PORTING, re.MULTILINE)[1:]
    assert unmatched(rows, ROWS) == ([], []) and len(rows) == len(ROWS)


def test_every_point_has_its_test():
    points = re.findall(r"^- (.+)$", PORTING, re.MULTILINE)
    assert unmatched(points, POINTS) == ([], []) and len(points) == len(POINTS)


@pytest.mark.parametrize("place", sorted({*ROWS.values(), *POINTS.values()}))
def test_the_tests_are_there(place):
    file, _, name = place.partition(": ")
    tree = ast.parse((TESTS / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# What breaks


def test_sizes_and_modes_that_detection_cannot_use():
    detector = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    for changes, size, words in [
        (
            {"IMAGE_RESIZE_MODE": "crop"},
            128,
            "IMAGE_RESIZE_MODE 'crop' is for training; set 'square' or 'rect' to detect",
        ),
        ({"IMAGE_RESIZE_MODE": "none"}, 100, "The image is 100x100 after resizing; the network wants multiples of 64."),
    ]:
        detector.config = OldConfig().update(**changes)
        with pytest.raises(ValueError, match=words):
            detector.mold_inputs([np.zeros((size, size, 3), np.uint8)])


def test_layers_take_explicit_arguments():
    config = OldConfig()
    with pytest.raises(ValueError, match="config"):
        modellib.DetectionTargetLayer(config=config)
    with pytest.raises(ValueError, match="config"):
        modellib.ProposalLayer(proposal_count=10, nms_threshold=0.7, name="ROI", config=config)
    layer = modellib.ProposalLayer(10, 0.7, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV, name="ROI")
    assert layer.std_dev == tuple(config.RPN_BBOX_STD_DEV)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    model = modellib.MaskRCNN("inference", OldConfig(), str(tmp_path_factory.mktemp("logs")))
    model.load_weights(str(WEIGHTS), by_name=True)
    yield model


def test_layers_of_heads_have_all_rois_behind_each_other(detector):
    graph = detector.keras_model
    images = [old_dataset().load_image(i) for i in (0, 1)]
    names = ["mrcnn_class_conv1", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask"]
    values = detector.run_graph(images, [(name, graph.get_layer(name).output) for name in names])
    assert [values[name].shape for name in names] == [
        (2 * 64, 1, 1, 32),
        (2, 64, 4),
        (2, 64, 4, 4),
        (2, 24, 28, 28, 4),
    ]


def test_annotations_are_records(tmp_path):
    import json

    from mrcnn.data.coco import CocoDataset

    box = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 10], "area": 100, "iscrowd": 0, "own": "x"}
    box["segmentation"] = [[1, 2, 11, 2, 11, 12, 1, 12]]
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 20, "width": 30}],
        "annotations": [box],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    (tmp_path / "val2017").mkdir()
    dataset = CocoDataset()
    coco = dataset.load_coco(str(tmp_path), "val", return_coco=True)
    dataset.prepare()
    assert coco.loadAnns(1)[0]["own"] == "x" and dataset.coco.getCatIds() == [3]
    (annotation,) = dataset.image_info[0]["annotations"]
    assert annotation["category_id"] == 3 and dict(annotation)["bbox"] == [1, 2, 10, 10] and "own" not in annotation
    with pytest.raises(TypeError):
        annotation["category_id"] = 4


def test_what_went_with_tensorflow_1_and_keras_2(detector, tmp_path):
    from mrcnn.model import K, tf

    assert not hasattr(K, "get_session") and not hasattr(tf, "placeholder")
    with pytest.raises(ImportError):
        importlib.import_module("keras.engine")
    with pytest.raises(ValueError, match="KerasTensor"):
        tf.identity(detector.keras_model.get_layer("input_image").output)
    with pytest.raises(ValueError, match="unpack"):
        folder, path = modellib.MaskRCNN.find_last(_run(detector, tmp_path))
    with pytest.raises(ValueError, match="lr"):
        keras.optimizers.SGD(lr=0.01)
    with pytest.raises(ValueError, match="weights.h5"):
        keras.callbacks.ModelCheckpoint("mask_rcnn_old_{epoch:04d}.h5", save_weights_only=True)


def _run(detector, folder):
    """A model beside a run in a folder."""
    run = folder / "old20180203T0405"
    run.mkdir()
    (run / "mask_rcnn_old_0001.h5").write_bytes(b"")
    model = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    model.model_dir, model.config = str(folder), detector.config
    return model


def test_checkpoints_of_a_train_method_of_ones_own(tmp_path):
    model = modellib.MaskRCNN("training", OldConfig(), str(tmp_path))
    model.set_trainable(r"mrcnn\_.*", verbose=0)
    model.compile(1e-4, 0.9)
    batches = modellib.data_generator(old_dataset(), model.config, batch_size=1)
    Path(model.log_dir).mkdir()
    model.keras_model.fit_generator(batches, steps_per_epoch=1, epochs=1, callbacks=[Checkpoints(model)], verbose=0)
    assert model.find_last() == model.checkpoint_path.format(epoch=1) and model.epoch == 1
    assert Path(model.find_last()).name == "mask_rcnn_old_0001.h5"
