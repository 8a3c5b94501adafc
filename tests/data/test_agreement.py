"""Sets that do not fit the model, or each other, are named before anything runs."""

import numpy as np
import pytest
import toy_data

from mrcnn.data.agreement import check_names, check_set, check_training
from mrcnn.data.dataset import Dataset
from mrcnn.evaluate import evaluate


class Points(Dataset):
    """Images whose objects have so many keypoints, None for images without."""

    def __init__(self, *counts, classes=("cat", "dog")):
        super().__init__()
        self.counts = counts
        self.add_classes("points", classes)
        for i in range(len(counts)):
            self.add_image("points", i, path=f"{i}.png")
        self.prepare()

    def load_keypoints(self, image_id):
        if self.counts[image_id] == "broken":
            raise OSError("0.png is broken")
        return None if self.counts[image_id] is None else np.zeros((2, self.counts[image_id], 3))


def test_number_of_classes():
    config = toy_data.config(NUM_CLASSES=81)
    message = "NUM_CLASSES is 81, but the training set has 3 classes, the background among them: BG, cat, dog. Build"
    with pytest.raises(ValueError, match=message):
        check_training(config, Points(None), [])
    with pytest.raises(
        ValueError, match="the data set has 9 classes, .*: BG, 0, 1, 2, 3, 4 .... Build the model with 9"
    ):
        check_set(Points(None, classes=list("01234567")), config)
    check_training(toy_data.config(NUM_CLASSES=3), Points(None), [Points(None)])


def test_other_classes_to_validate_with():
    """The validation loss and AP were those of other classes."""
    config, train = toy_data.config(NUM_CLASSES=3), Points(None)
    with pytest.raises(ValueError, match="Class 1 is 'cat' in the training set and 'dog' in the validation set; give"):
        check_training(config, train, [Points(None), Points(None, classes=["dog", "cat"])])
    with pytest.raises(ValueError, match="NUM_CLASSES is 3, but the validation set has 2 classes"):
        check_training(config, train, [Points(None, classes=["cat"])])


def test_number_of_keypoints():
    config = toy_data.config(NUM_CLASSES=3, NUM_KEYPOINTS=17)
    with pytest.raises(ValueError, match="NUM_KEYPOINTS is 17, but the objects of the data set have 5 keypoints"):
        check_set(Points("broken", None, 5), config)
    check_set(Points(None, 17), config)
    check_set(Points(None, None), config)
    check_set(Points(5), toy_data.config(NUM_CLASSES=3))  # which has none


def test_evaluation_begins_with_it():
    class Model:
        config = toy_data.config(NUM_CLASSES=5)

    with pytest.raises(ValueError, match="NUM_CLASSES is 5, but the data set has 3 classes"):
        evaluate(Model(), toy_data.shapes())


def test_names_of_the_model_and_of_a_set():
    config = toy_data.config(NUM_CLASSES=3)
    check_names(Points(None), config)  # the model's are not known
    config.CLASS_NAMES = ["BG", "cat", "dog"]
    check_names(Points(None), config)
    with pytest.raises(ValueError, match="Class 1 of the model is 'cat', of the data set 'dog': .* order, cat, dog."):
        check_names(Points(None, classes=("dog", "cat")), config)
    with pytest.warns(UserWarning, match="Class 2 of the model is 'dog'; it is compared with 'hound' of the data set"):
        check_names(Points(None, classes=("cat", "hound")), config)
    check_names(Points(None, classes=("dog",)), config)  # another number is another check's
