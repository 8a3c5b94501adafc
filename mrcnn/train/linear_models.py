"""R-CNN's linear models (Girshick et al. 2014): SVMs with hard negatives, ridge regression of boxes.

They are fitted to the features of a trained network, image by image, so that memory holds a few examples of all. The
numbers are those of the authors' code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from mrcnn.ops.boxes import encode, overlaps
from mrcnn.ops.matching import CROWD_OVERLAP

# The norm that features are scaled to on average: what the next ones are chosen for.
NORM = 20.0

# The SVM: its C, the weight of a positive in it, and the feature that its bias is the weight of.
COST, POSITIVE_WEIGHT, INTERCEPT = 0.001, 2.0, 10.0

# A region is a negative of a class below this IoU with all of its instances. It is hard, and kept, with a margin above
# the second number, and dropped again below the third; an SVM is fitted anew after so many that are hard, and never
# forgets the hardest of as many: it would take what it has forgotten for objects.
NEGATIVE_IOU, HARD, EASY, REFIT = 0.3, -1.0, -1.2, 2000

# A region's box is an example from this IoU on; and the ridge regression's penalty.
BOX_IOU, PENALTY = 0.6, 1000.0

# Positives, and boxes, that are kept of a class: a fair choice of more.
MOST = 10_000

# The bias of an SVM that knows no positive.
NEVER = -100.0


class Regions(NamedTuple):
    """The regions of an image, of which the first are its ground truth.

    Attributes:
        features: [n, F].
        boxes: [n, 4], in any unit.
        class_ids: [g] int, g <= n, of the ground truth; crowds negative.
        active: [K] not 0 for the classes that the image's source knows.
    """

    features: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    active: np.ndarray


class Rows:
    """Rows of `width` numbers, at most `most` of them: each that was added has the same chance to be among these."""

    def __init__(self, width: int, most: int = MOST) -> None:
        self.most, self.rng = most, np.random.default_rng(0)
        self.rows, self.lots = [np.zeros((0, width), "float32")], [np.zeros(0)]

    def add(self, rows: np.ndarray) -> None:
        self.rows.append(rows)
        self.lots.append(self.rng.random(len(rows)))
        if sum(map(len, self.lots)) > 2 * self.most:
            self._draw()

    def _draw(self) -> None:
        lots = np.concatenate(self.lots)
        drawn = np.sort(np.argsort(lots)[: self.most])
        self.rows, self.lots = [np.concatenate(self.rows)[drawn]], [lots[drawn]]

    def __len__(self) -> int:
        return min(sum(map(len, self.lots)), self.most)

    def all(self) -> np.ndarray:
        self._draw()
        return self.rows[0]


class Svm:
    """The linear SVM of a class, and the examples that it needs.

    Args:
        width: F.

    Attributes:
        weights, bias: [F] and a number; a margin is features @ weights + bias. None before the first fit.
        positives, negatives: rows [n, F].
    """

    def __init__(self, width: int) -> None:
        self.weights: np.ndarray | None = None
        self.bias = NEVER
        self.positives, self.negatives = Rows(width), np.zeros((0, width), "float32")
        self.new = 0

    def margins(self, features: np.ndarray) -> np.ndarray:
        """[n] of features [n, F]."""
        return features @ self.weights + self.bias

    def add(self, positives: np.ndarray, negatives: np.ndarray, scale: float) -> None:
        """Take the positives [n, F] of an image, and those of its negatives [m, F] that are hard; the first ones all
        are. `scale` is as of `fit`."""
        self.positives.add(positives)
        hard = negatives[: REFIT - self.new] if self.weights is None else negatives[self.margins(negatives) > HARD]
        self.negatives = np.concatenate([self.negatives, hard])
        self.new += len(hard)
        if self.new >= REFIT and len(self.positives):
            self.fit(scale)

    def fit(self, scale: float) -> None:
        """Fit the SVM to the examples, whose features are multiplied by `scale`, and drop easy negatives of many."""
        from sklearn.svm import LinearSVC

        positives, negatives = self.positives.all(), self.negatives
        if not len(positives) or not len(negatives):
            self.weights, self.bias = np.zeros(positives.shape[1]), -NEVER if len(positives) else NEVER
            return
        svm = LinearSVC(
            C=COST,
            loss="hinge",
            class_weight={1: POSITIVE_WEIGHT},
            intercept_scaling=INTERCEPT,
            max_iter=20_000,
            random_state=0,
        )
        examples = scale * np.concatenate([positives, negatives])
        svm.fit(examples, np.arange(len(examples)) < len(positives))
        self.weights, self.bias = svm.coef_[0] * scale, float(svm.intercept_[0])
        margins = self.margins(negatives)
        hardest = np.sort(margins)[-REFIT:]
        self.negatives, self.new = negatives[margins >= min(EASY, hardest[0])], 0


class BoxRidge:
    """The ridge regression of a class's boxes, and its examples.

    Args:
        width: F.
    """

    def __init__(self, width: int) -> None:
        self.examples = Rows(width + 4)

    def add(self, features: np.ndarray, deltas: np.ndarray) -> None:
        """Take examples: features [n, F] of regions, and the deltas [n, 4] that take them to their instances."""
        self.examples.add(np.concatenate([features, deltas], axis=1))

    def fit(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """The kernel [F, 4] and bias [4] of the deltas; zeros where there is no example. Scale as of `Svm.fit`."""
        from sklearn.linear_model import Ridge

        rows = self.examples.all()
        features, deltas = rows[:, :-4], rows[:, -4:]
        if not len(rows):
            return np.zeros((features.shape[1], 4)), np.zeros(4)
        # Decorrelating the deltas first, as the authors do, changes nothing: the solution is linear in them.
        ridge = Ridge(alpha=PENALTY).fit(scale * features, deltas)
        return ridge.coef_.T * scale, ridge.intercept_


class LinearModels:
    """The linear models of all classes, fitted to images as they come.

    Args:
        num_classes: K.
        width: F.
        std_dev: the four numbers by which deltas are divided.
    """

    def __init__(self, num_classes: int, width: int, std_dev: ArrayLike) -> None:
        self.std_dev = np.asarray(std_dev)
        self.svms = [Svm(width) for _ in range(1, num_classes)]
        self.ridges = [BoxRidge(width) for _ in self.svms]
        self.norms, self.count = 0.0, 0

    @property
    def scale(self) -> float:
        """What features are multiplied by, so that their mean norm, as far as they are known, is `NORM`."""
        return NORM * self.count / self.norms if self.norms else 1.0

    def add(self, regions: Regions) -> None:
        """Take the examples of an image: its instances are positives of their class; its other regions are negatives of
        a class, unless they lie in a crowd, or examples of its boxes."""
        features, boxes, class_ids, active = regions
        self.norms += float(np.linalg.norm(features, axis=1).sum())
        self.count += len(features)
        given = len(class_ids)
        truth, others, rows = boxes[:given], boxes[given:], features[given:]
        iou = overlaps(others, truth)
        crowded = (overlaps(others, truth[class_ids < 0], over="first") >= CROWD_OVERLAP).any(axis=1)
        for class_id, (svm, ridge) in enumerate(zip(self.svms, self.ridges, strict=True), 1):
            if not active[class_id]:
                continue
            own = np.flatnonzero(class_ids == class_id)
            best = iou[:, own].max(axis=1, initial=0)
            svm.add(features[own], rows[(best < NEGATIVE_IOU) & ~crowded], self.scale)
            near = np.flatnonzero(best >= BOX_IOU)
            if len(near):
                nearest = own[iou[np.ix_(near, own)].argmax(axis=1)]
                ridge.add(rows[near], encode(others[near], truth[nearest]) / self.std_dev)

    def fit(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Fit all to what was added.

        Returns:
            kernels and biases of the SVMs, [F, K - 1] and [K - 1], and of the boxes, [F, 4 (K - 1)] and [4 (K - 1)],
            class by class.
        """
        kernels, biases, boxes = [], [], []
        models = list(zip(self.svms, self.ridges, strict=True))
        for svm, ridge in tqdm(models, desc="Fitting SVMs", unit="class"):
            svm.fit(self.scale)
            kernels.append(svm.weights)
            biases.append(svm.bias)
            boxes.append(ridge.fit(self.scale))
        kernel, bias = (np.concatenate(values, axis=-1) for values in zip(*boxes, strict=True))
        return (np.stack(kernels, axis=1), np.array(biases)), (kernel, bias)
