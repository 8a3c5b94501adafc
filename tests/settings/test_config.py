import numpy as np
import pytest
from conftest import read_golden

from mrcnn.config import Config
from mrcnn.data.anchors import compute_backbone_shapes, plain_function
from mrcnn.settings import SETTINGS, settings

DEFAULTS = read_golden("api.json")["mrcnn.config"]["Config"]["attributes"]


class Toy(Config):
    NAME = "toy"
    NUM_CLASSES = 3


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_originals(name):
    value, expected = getattr(Config, name), DEFAULTS[name]
    if name == "LOSS_WEIGHTS":  # keypoints are not the original's
        expected = {**expected, "mrcnn_keypoint_loss": 1.0}
    plain = value.tolist() if isinstance(value, np.ndarray) else value
    assert (list(plain) if isinstance(plain, tuple) else plain) == expected
    assert isinstance(value, type(expected)) or (isinstance(value, (tuple, np.ndarray)) and isinstance(expected, list))


def test_derived_values():
    config = Toy().update(IMAGES_PER_GPU=3, GPU_COUNT=2, IMAGE_MAX_DIM=512, IMAGE_MIN_DIM=256)
    assert config.BATCH_SIZE == 6
    assert list(config.IMAGE_SHAPE) == [512, 512, 3]
    assert config.IMAGE_META_SIZE == 12 + 3
    assert list(config.update(IMAGE_RESIZE_MODE="crop").IMAGE_SHAPE) == [256, 256, 3]
    config.update(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=np.array([100.0]), NUM_CLASSES=81)
    assert list(config.IMAGE_SHAPE) == [256, 256, 1] and config.IMAGE_META_SIZE == 93
    assert Toy().IMAGES_PER_GPU == 2 and Toy().IMAGE_MAX_DIM == 1024  # update() changes one instance alone


@pytest.mark.parametrize(
    "values, message",
    [
        ({"NUM_CLASSES": 0}, "NUM_CLASSES is 0; it must be at least 1."),
        (
            {"IMAGE_RESIZE_MODE": "sqare"},
            "IMAGE_RESIZE_MODE is 'sqare'; choose one of square, rect, shortest, pad64, crop, stretch, none.",
        ),
        (
            {"IMAGE_MAX_DIM": 1000},
            "IMAGE_MAX_DIM is 1000; it must be a multiple of 64 in mode 'square', for instance 1024.",
        ),
        (
            {"IMAGE_MAX_DIM": None},
            "IMAGE_MAX_DIM is None; it must be a multiple of 64 in mode 'square', for instance 64.",
        ),
        (
            {"IMAGE_RESIZE_MODE": "crop"},
            "IMAGE_MIN_DIM is 800; it must be a multiple of 64 in mode 'crop', for instance 832.",
        ),
        (
            {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 0},
            "IMAGE_MIN_DIM is 0; it must be a multiple of 64 in mode 'pad64', for instance 64.",
        ),
        (
            {"IMAGE_RESIZE_MODE": "shortest", "IMAGE_MIN_DIM": 0},
            "IMAGE_MIN_DIM is 0; mode 'shortest' scales the shorter side to it, for instance 800.",
        ),
        (
            {"RPN_ANCHOR_SCALES": (32, 64, 128)},
            "RPN_ANCHOR_SCALES has 3 values for 5 pyramid levels; give one scale for each entry of BACKBONE_STRIDES.",
        ),
        (
            {"IMAGE_CHANNEL_COUNT": 4},
            "MEAN_PIXEL has 3 values for IMAGE_CHANNEL_COUNT = 4; give one value for each channel.",
        ),
        (
            {"MASK_SHAPE": [56, 56]},
            "MASK_SHAPE is (56, 56); the mask head doubles MASK_POOL_SIZE = 14, so it must be (28, 28).",
        ),
        (
            {"HEAD_NORM": "group", "BOX_HEAD_BN": False, "MASK_HEAD_BN": False},
            "HEAD_NORM is 'group', of norms that are all off; set BOX_HEAD_BN, MASK_HEAD_BN or FPN_BN to True.",
        ),
        (
            {"TRAIN_ROIS_PER_IMAGE": 2},
            "TRAIN_ROIS_PER_IMAGE = 2 with ROI_POSITIVE_RATIO = 0.33 leaves no room for a positive RoI; "
            "raise one of them.",
        ),
        ({"ROI_POSITIVE_RATIO": 1.5}, "ROI_POSITIVE_RATIO is 1.5; it must be between 0 and 1."),
        ({"DETECTION_MIN_CONFIDENCE": 90}, "DETECTION_MIN_CONFIDENCE is 90; it must be between 0 and 1."),
        ({"IMAGES_PER_GPU": 0}, "IMAGES_PER_GPU is 0; it must be at least 1."),
        ({"NUM_CLASSES": "81"}, "NUM_CLASSES is '81'; it must be a whole number."),
        ({"STEPS_PER_EPOCH": 12.5}, "STEPS_PER_EPOCH is 12.5; it must be a whole number."),
        ({"LEARNING_RATE": "1e-3"}, "LEARNING_RATE is '1e-3'; it must be a number."),
        ({"USE_MINI_MASK": 2}, "USE_MINI_MASK is 2; it must be True or False."),
        ({"USE_MINI_MASK": "yes"}, "USE_MINI_MASK is 'yes'; it must be True or False."),
        ({"OPTIMIZER": "Adam"}, "OPTIMIZER is 'Adam'; choose one of sgd, adamw."),
        ({"OPTIMIZER": True}, "OPTIMIZER is True; choose one of sgd, adamw."),
        ({"IMAGE_PADDING": False}, "IMAGE_PADDING is False; choose one of black, mean."),
        ({"TRAIN_BN": "no"}, "TRAIN_BN is 'no'; it must be True, False or None."),
        (
            {"RPN_ANCHOR_SCALES": 32},
            "RPN_ANCHOR_SCALES is 32; it must be a sequence of numbers, or of as many for each level.",
        ),
        ({"MEAN_PIXEL": "123"}, "MEAN_PIXEL is '123'; it must be a number or a sequence of numbers."),
        ({"LOSS_WEIGHTS": [1, 1]}, "LOSS_WEIGHTS is [1, 1]; it must be a dict of numbers."),
        ({"BACKBONE": 50}, "BACKBONE is 50; it must be the name of a backbone or a function."),
        ({"BACKBONE": "../x"}, "BACKBONE is '../x'; it must be the name of a backbone or a function."),
        ({"NUM_CLASSES": 10**12}, "NUM_CLASSES is 1000000000000; it must be at most 1000000."),
        ({"IMAGE_MAX_DIM": 64 * 10**9}, "IMAGE_MAX_DIM is 64000000000; it must be at most 65536."),
        ({"MINI_MASK_SHAPE": (10**9, 56)}, "MINI_MASK_SHAPE is (1000000000, 56); it must be at most 1024."),
        ({"LEARNING_RATE": 1e300}, "LEARNING_RATE is 1e+300; it must be at most 1000000000."),
        ({"MEAN_PIXEL": [0, 0, -1e300]}, "MEAN_PIXEL is [0, 0, -1e+300]; it must be at most 1000000000."),
        ({"PIXEL_STD": 1e-300}, "PIXEL_STD is 1e-300; it must be above 0."),
        ({"MEAN_PIXEL": [[1, 2, 3]]}, "MEAN_PIXEL is [[1, 2, 3]]; it must be a number or a sequence of numbers."),
        (
            {"MEAN_PIXEL": np.ones((3, 1))},
            "MEAN_PIXEL is array([[1.], [1.], [1.]]); it must be a number or a sequence of numbers.",
        ),
        ({"MEAN_PIXEL": {1, 2, 3}}, "MEAN_PIXEL is {1, 2, 3}; it must be a number or a sequence of numbers."),
        ({"BACKBONE_STRIDES": (4, 8, 16, 32, 0)}, "BACKBONE_STRIDES is (4, 8, 16, 32, 0); it must be above 0."),
        (
            {"BACKBONE_STRIDES": (64, 32, 16, 8, 4)},
            "BACKBONE_STRIDES is (64, 32, 16, 8, 4); they go from the finest map to the coarsest.",
        ),
        ({"RPN_ANCHOR_RATIOS": []}, "RPN_ANCHOR_RATIOS is empty; give at least one."),
        ({"LOSS_WEIGHTS": {1: 1}}, "LOSS_WEIGHTS is {1: 1}; it must be a dict of numbers."),
        ({"LEARNING_RATE": float("nan")}, "LEARNING_RATE is nan; it must be a number."),
        ({"LEARNING_RATE": -0.1}, "LEARNING_RATE is -0.1; it must be at least 0."),
        ({"GRADIENT_CLIP_NORM": 0}, "GRADIENT_CLIP_NORM is 0; it must be above 0."),
        ({"VALIDATION_STEPS": -1}, "VALIDATION_STEPS is -1; it must be at least 0."),
        ({"PIXEL_STD": (1, 0, 1)}, "PIXEL_STD is (1, 0, 1); it must be above 0."),
        ({"RPN_ANCHOR_RATIOS": [0.5, -1]}, "RPN_ANCHOR_RATIOS is [0.5, -1]; it must be above 0."),
        ({"BBOX_STD_DEV": [0.1, 0.1, 0.2]}, "BBOX_STD_DEV is [0.1, 0.1, 0.2]; it must be a sequence of 4 numbers."),
        ({"MINI_MASK_SHAPE": (56, 0)}, "MINI_MASK_SHAPE is (56, 0); it must be at least 1."),
        ({"MINI_MASK_SHAPE": 56}, "MINI_MASK_SHAPE is 56; it must be two whole numbers."),
        ({"LOSS_WEIGHTS": {"rpn_class_loss": -1}}, "LOSS_WEIGHTS is {'rpn_class_loss': -1}; it must be at least 0."),
        ({"KEYPOINT_ROI_EXPAND": 0.5}, "KEYPOINT_ROI_EXPAND is 0.5; it must be at least 1."),
        (
            {"NUM_KEYPOINTS": 2, "KEYPOINT_FLIP_PAIRS": [(0, 2)]},
            "KEYPOINT_FLIP_PAIRS has [(0, 2)]; the indices of 2 keypoints are 0 to 1.",
        ),
        ({"KEYPOINT_CLASSES": []}, "KEYPOINT_CLASSES is empty; None stands for all classes."),
        ({"KEYPOINT_CLASSES": [3]}, "KEYPOINT_CLASSES has [3]; the ids of the classes are 1 to 2."),
    ],
)
def test_impossible_values(values, message):
    for attempt in (type("Toy", (Toy,), values), lambda: Toy().update(**values)):
        with pytest.raises(ValueError) as error:
            attempt()
        assert str(error.value) == f"Toy: {message}"


def test_possible_values_that_look_odd():
    assert Toy().update(IMAGE_RESIZE_MODE="none", IMAGE_MAX_DIM=1000).IMAGE_RESIZE_MODE == "none"
    assert Toy().update(ROI_POSITIVE_RATIO=1).ROI_POSITIVE_RATIO == 1
    config = Toy().update(MASK_POOL_SIZE=28, MASK_SHAPE=np.array([56, 56]))
    assert config.to_dict()["MASK_SHAPE"] == [56, 56]


def test_whole_floats_and_numpy_numbers_are_counts():
    config = Toy().update(STEPS_PER_EPOCH=657 / 3, NUM_CLASSES=np.int64(3), USE_MINI_MASK=np.bool_(False))
    assert (config.STEPS_PER_EPOCH, type(config.STEPS_PER_EPOCH)) == (219, int)
    assert config.IMAGE_META_SIZE == 15 and config.LEARNING_RATE == 0.001
    # A scale is none, although its default is a whole number.
    assert config.update(IMAGE_MIN_SCALE=1.5).IMAGE_MIN_SCALE == 1.5


def test_round_trip(tmp_path):
    class Own(Toy):
        FOLDER = "a b"
        BACKBONE_STRIDES = (4, 8, 16, 32, 64)

    config = Own().update(MEAN_PIXEL=np.array([1, 2, 3.5]), LEARNING_RATE=0.5, TRAIN_BN=None, FOLDER="c")
    assert Own.from_dict(config.to_dict()).to_dict() == config.to_dict()
    config.to_json(tmp_path / "x.json")
    assert Own.from_json(tmp_path / "x.json").to_dict() == config.to_dict()
    for cls in (Toy, Config):  # what is not theirs they do not take
        with pytest.warns(UserWarning, match=f"FOLDER: not of {cls.__name__}, and so left out."):
            assert cls.from_json(tmp_path / "x.json").to_dict() | {"FOLDER": "c"} == config.to_dict()
    config = Toy.from_dict({"IMAGE_MAX_DIM": 512, "IMAGE_SHAPE": [9, 9, 9]})
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3]


def test_functions_are_not_in_json(tmp_path):
    class Own(Toy):
        BACKBONE = staticmethod(lambda image, **_: [image] * 5)

    Own().to_json(tmp_path / "x.json")
    assert Own.from_json(tmp_path / "x.json").BACKBONE is Own.BACKBONE
    assert Toy.from_json(tmp_path / "x.json").BACKBONE == "resnet101"


def test_update_names_the_nearest_setting():
    with pytest.raises(ValueError, match="LEARNING_RAT is not a setting of Config; did you mean LEARNING_RATE?"):
        Toy().update(LEARNING_RAT=0.1)
    with pytest.raises(ValueError, match="learning_rate is not a setting of Config; did you mean LEARNING_RATE?"):
        Toy().update(learning_rate=0.1)
    with pytest.raises(ValueError, match="QWXYZ is not a setting of Config.$"):
        Toy().update(QWXYZ=1)
    config = Toy()
    with pytest.raises(ValueError):
        config.update(LEARNING_RATE=0.5, WHAT=1)
    assert config.LEARNING_RATE == 0.001  # all or nothing


def test_a_failing_update_leaves_the_config_as_it_was():
    config = Toy()
    before, attributes = config.to_dict(), dict(vars(config))
    with pytest.raises(ValueError, match="MASK_SHAPE is"):
        config.update(NUM_CLASSES=5, IMAGES_PER_GPU=4, MASK_POOL_SIZE=7)
    assert config.to_dict() == before and vars(config).keys() == attributes.keys()
    assert all(vars(config)[name] is value for name, value in attributes.items())
    with pytest.raises(ValueError, match="BATCH_SIZE is computed from other settings."):
        config.update(BATCH_SIZE=3)


def test_the_table_has_every_setting():
    assert {name for name in dir(Config) if name.isupper()} == set(SETTINGS) == set(settings())


def test_arrays_of_the_original_stay_arrays():
    class Own(Toy):
        MEAN_PIXEL = (1, 2, 3)

    for config in (Toy(), Own(), Own.from_dict(Own().to_dict()), Toy().update(BBOX_STD_DEV=[1, 1, 1, 1])):
        for name in ("MEAN_PIXEL", "RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
            value = getattr(config, name)
            assert isinstance(value, np.ndarray) and value.dtype == "float64", name
        assert isinstance(config.IMAGE_SHAPE, np.ndarray) and config.IMAGE_SHAPE.dtype.kind == "i"
    assert (Own().MEAN_PIXEL / 2).tolist() == [0.5, 1, 1.5]
    unlimited = Toy().update(IMAGE_RESIZE_MODE="none", IMAGE_MAX_DIM=None)
    assert unlimited.IMAGE_SHAPE.tolist() == [None, None, 3]


def test_an_init_that_sets_attributes_first():
    """As of the original's subclasses that compute settings."""

    class Own(Config):
        BACKBONE = "resnet50"

        def __init__(self, classes=3):
            self.NUM_CLASSES = 1 + classes
            self.IMAGES_PER_GPU = 4
            super().__init__()

    config = Own()
    assert (config.BACKBONE, config.NUM_CLASSES, config.BATCH_SIZE, config.IMAGE_META_SIZE) == ("resnet50", 4, 4, 16)
    assert Own(8).IMAGE_META_SIZE == 21
    # What was stored counts, whatever the class computes.
    again = Own.from_dict(Own(8).to_dict())
    assert (again.NUM_CLASSES, again.IMAGE_META_SIZE) == (9, 21)


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    Toy().to_json(path)
    config = Toy()
    config.OWN = object()  # what JSON cannot hold
    with pytest.raises(TypeError):
        config.to_json(path)
    assert Toy.from_json(path).to_dict() == Toy().to_dict()


def test_a_misspelt_attribute_warns():
    class Misspelt(Toy):
        DETECTION_MIN_CONFIDANCE = 0.9

    class Inference(Misspelt):
        GPU_COUNT = 1

    for config_class in (Misspelt, Inference):
        with pytest.warns(
            UserWarning, match="DETECTION_MIN_CONFIDANCE is not a setting; did you mean DETECTION_MIN_CONF"
        ):
            config_class()


def test_own_attributes_do_not_warn(recwarn):
    class Own(Toy):
        MY_FOLDER = "x"
        IMAGE_SHAPE = None  # derived, old code declares it now and then

    config = Own()
    assert not recwarn.list
    assert config.to_dict()["MY_FOLDER"] == "x"
    assert config.update(MY_FOLDER="y").MY_FOLDER == "y"


def test_to_dict(capsys):
    config = Toy().update(MEAN_PIXEL=np.array([1.0, 2.0, 3.0]), LEARNING_RATE=0.5)
    values = config.to_dict()
    assert set(values) == set(settings()) | {"BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE"}
    assert set(settings()) >= set(DEFAULTS)
    assert values["MEAN_PIXEL"] == [1.0, 2.0, 3.0] and values["LEARNING_RATE"] == 0.5
    assert values["BATCH_SIZE"] == 2 and values["NAME"] == "toy"
    config.display()
    lines = capsys.readouterr().out.splitlines()
    assert f"{'LEARNING_RATE':30} 0.5" in lines and f"{'IMAGE_SHAPE':30} [1024, 1024, 3]" in lines


def test_functions_on_the_class_need_no_staticmethod():
    """In the original they had to be static methods, or the config came in as their first argument."""

    def backbone(input_image, stage5=True, train_bn=True):
        return [input_image] * 5

    def shapes(image_shape):
        return [[image_shape[0] // n, image_shape[1] // n] for n in (4, 8, 16, 32, 64)]

    plain = type("Plain", (Toy,), {"BACKBONE": backbone, "COMPUTE_BACKBONE_SHAPE": shapes})()
    static = type(
        "Static", (Toy,), {"BACKBONE": staticmethod(backbone), "COMPUTE_BACKBONE_SHAPE": staticmethod(shapes)}
    )()
    given = Toy().update(BACKBONE=backbone, COMPUTE_BACKBONE_SHAPE=shapes)
    for config in (plain, static, given):
        assert plain_function(config.BACKBONE) is backbone
        expected = [[32, 16], [16, 8], [8, 4], [4, 2], [2, 1]]
        np.testing.assert_array_equal(compute_backbone_shapes(config, (128, 64, 3)), expected)
    lacking = type("Lacking", (Toy,), {"BACKBONE": backbone})()
    with pytest.raises(ValueError, match="set COMPUTE_BACKBONE_SHAPE to a function"):
        compute_backbone_shapes(lacking, (128, 64, 3))


def test_compute_backbone_shapes_of_named_backbones():
    expected = [[250, 150], [125, 75], [63, 38], [32, 19], [16, 10]]  # rounded up
    np.testing.assert_array_equal(compute_backbone_shapes(Toy(), (1000, 600, 3)), expected)


# What configs of 2017-2019 hold


def test_a_config_without_classes_is_one_but_makes_no_model():
    config = Config()
    assert (config.NUM_CLASSES, config.IMAGE_META_SIZE) == (1, 13)
    with pytest.raises(ValueError, match=r"^Config: NUM_CLASSES is 1; set it to 1 \(the background\) plus the number"):
        config.validate()


@pytest.mark.parametrize(
    "name, given, expected",
    [
        ("IMAGE_PADDING", True, "black"),
        ("OPTIMIZER", "SGD", "sgd"),
        ("OPTIMIZER", "AdamW", "adamw"),
        ("IMAGE_RESIZE_MODE", "Square", "square"),
        ("VALIDATION_STEPS", None, None),
        ("USE_MINI_MASK", 0, False),
        ("USE_RPN_ROIS", 1, True),
        ("TRAIN_BN", 0, False),
    ],
)
def test_old_ways_to_write_a_value(name, given, expected):
    for config in (type("Own", (Toy,), {name: given})(), Toy().update(**{name: given})):
        value = getattr(config, name)
        assert value == expected and type(value) is type(expected)


def test_one_mean_for_all_channels():
    for config in (type("Own", (Toy,), {"MEAN_PIXEL": 127.5})(), Toy().update(MEAN_PIXEL=127.5)):
        assert config.MEAN_PIXEL.tolist() == [127.5, 127.5, 127.5]
    assert Toy().update(MEAN_PIXEL=0, IMAGE_CHANNEL_COUNT=1).MEAN_PIXEL.tolist() == [0]
    with pytest.raises(ValueError, match="MEAN_PIXEL has 1 values for IMAGE_CHANNEL_COUNT = 3"):
        Toy().update(MEAN_PIXEL=[127.5])


def test_weights_of_other_losses_weigh_nothing():
    weights = {"rpn_class_loss": 2.0, "mrcnn_angle_loss": 1.0, "mrcnn_4_class_loss": 1.0}  # of a cascade's fourth stage
    with pytest.warns(
        UserWarning, match="Own.LOSS_WEIGHTS: mrcnn_angle_loss weighs nothing; the losses are rpn_class_"
    ):
        config = type("Own", (Toy,), {"LOSS_WEIGHTS": weights})()
    assert weights == config.LOSS_WEIGHTS


def test_lists_of_the_original_stay_lists():
    assert Config().MASK_SHAPE + [3] == [28, 28, 3] and Config.BACKBONE_STRIDES + [128]
