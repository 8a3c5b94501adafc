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
