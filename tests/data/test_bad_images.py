import numpy as np
import pytest
from toy_data import Shapes, config, ids, shapes

from mrcnn.data.batches import DataGenerator


def test_a_bad_image_is_named_skipped_and_counted(capsys):
    dataset = shapes(5, bad=[2])
    generator = DataGenerator(dataset, config(), shuffle=False, steps=5)
    assert [ids(generator[i]) for i in range(5)] == [[0, 1], [3, 3], [4, 0], [1, 3], [3, 4]]
    assert list(generator.bad) == [2] and dataset.read.count(2) == 1
    assert capsys.readouterr().out.splitlines() == ["", "Skipping image 2 (/toy/2.png): OSError: broken 2"]


def test_a_wrong_mask_counts_as_a_bad_image(capsys):
    dataset = shapes(6)
    right = dataset.load_mask
    dataset.load_mask = lambda i: (right(i)[0][:10], right(i)[1]) if i == 1 else right(i)
    assert ids(DataGenerator(dataset, config(), shuffle=False)[0]) == [0, 2]
    assert "/toy/1.png: the image is 64 x 64" in capsys.readouterr().out


def test_more_than_a_fifth_bad_ends_the_run():
    generator = DataGenerator(shapes(10, bad=[1, 4, 7]), config(), shuffle=False)
    for i in range(3):
        generator[i]
    with pytest.raises(RuntimeError, match="^3 of 10 images cannot be used, the last one /toy/7.png: broken 7$"):
        generator[3]


def test_no_images():
    with pytest.raises(RuntimeError, match="no images; call prepare"):
        DataGenerator(Shapes([]), config())
    with pytest.raises(RuntimeError, match="1 of 1 images cannot be used, the last one /toy/0.png"):
        DataGenerator(shapes(1, bad=[0]), config())[0]


def test_images_that_do_not_fit_the_model(capsys):
    dataset = Shapes([[]] * 6, size=[(64, 64)] * 5 + [(128, 64)])
    generator = DataGenerator(dataset, config(IMAGE_RESIZE_MODE="none", IMAGES_PER_GPU=6), shuffle=False)
    assert ids(generator[0]) == [0, 1, 2, 3, 4, 0]
    assert "the image is (128, 64, 3) after resizing; the model wants (64, 64, 3)" in capsys.readouterr().out


# What is not an image's fault


@pytest.mark.parametrize("augmentation", ["flip,color", "", 5, ["flip"]])
def test_arguments_are_looked_at_before_the_first_image(augmentation):
    """ "flip,color" skipped a fifth of the set before it stopped."""
    dataset = shapes(4)
    with pytest.raises(
        ValueError, match="known are flip, turn, scale, colour|names with commas between them: flip, turn"
    ):
        DataGenerator(dataset, config(), augmentation=augmentation)
    assert dataset.read == []


def test_one_source_that_is_not_augmented_may_be_its_name():
    assert DataGenerator(shapes(4), config(), no_augmentation_sources="other").no_augmentation_sources == {"other"}


def test_an_error_of_ones_own_code_ends_the_run_at_once(capsys):
    dataset = shapes(100)
    dataset.load_mask = lambda image_id: {}["polygons"]
    generator = DataGenerator(dataset, config())
    with pytest.raises(RuntimeError, match="^3 images in a row failed alike, .*: KeyError: 'polygons'$"):
        generator[0]
    assert len(generator.bad) == 3 and capsys.readouterr().out.count("Skipping image") == 3


def test_alike_with_good_ones_between_them_is_no_row(capsys):
    """Nine of 50 images fail with the same words, never three after each other."""
    dataset = shapes(50)
    right = dataset.load_mask
    dataset.load_mask = lambda i: {}["polygons"] if i % 10 in (3, 4) and i < 45 else right(i)
    generator = DataGenerator(dataset, config(), shuffle=False)
    for i in range(25):
        generator[i]
    assert sorted(generator.bad) == [3, 4, 13, 14, 23, 24, 33, 34, 43, 44]


@pytest.mark.parametrize("error", [MemoryError("no room"), ImportError("y"), NameError("z")])
def test_errors_that_no_image_makes_are_raised_as_they_are(error):
    dataset = shapes(6)

    def fail(image_id):
        raise error

    dataset.load_image = fail
    with pytest.raises(type(error), match=str(error)):
        DataGenerator(dataset, config())[0]


def test_ctrl_c_is_raised():
    dataset = shapes(3)

    def stop(image_id):
        raise KeyboardInterrupt

    dataset.load_image = stop
    with pytest.raises(KeyboardInterrupt):
        DataGenerator(dataset, config())[0]


def test_an_image_of_a_source_without_classes_is_background():
    """It was skipped as bad, for a KeyError."""
    dataset = Shapes([[(1, 4, 8, 36, 40)], []])
    dataset.image_info[1]["source"] = "landscapes"
    generator = DataGenerator(dataset, config(), shuffle=False)
    (batch,) = generator[0]
    assert ids((batch,)) == [0, 1] and not generator.bad
    np.testing.assert_array_equal(batch["input_image_meta"][:, 12:], [[1, 1, 0], [1, 0, 0]])
    assert not batch["input_gt_class_ids"][1].any()
