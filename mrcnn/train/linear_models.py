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

# Positives, boxes and hard negatives that are kept of a class, at most: of more the hardest negatives, else a fair
# choice. Of many classes with many features fewer, so that the rows of all take no more than so many bytes.
MOST, MEMORY = 10_000, 4 * 2**30

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
        self.rows, self.lots, self.count = [np.zeros((0, width), "float32")], [np.zeros(0)], 0

    def add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        self.rows.append(rows)
        self.lots.append(self.rng.random(len(rows)))
        self.count += len(rows)
        if self.count > 2 * self.most:
            self._draw()

    def _draw(self) -> None:
        lots = np.concatenate(self.lots)
        drawn = np.sort(np.argsort(lots)[: self.most])
        self.rows, self.lots, self.count = [np.concatenate(self.rows)[drawn]], [lots[drawn]], len(drawn)

    def __len__(self) -> int:
        return min(self.count, self.most)

    def all(self) -> np.ndarray:
        self._draw()
        return self.rows[0]


class Svm:
    """The linear SVM of a class, and the examples that it needs.

    Args:
        width: F.
        most: positives that are kept, and negatives between fits.

    Attributes:
        weights, bias: [F] float32 and a number; a margin is features @ weights + bias. Before the first fit the bias is
            infinite, so that every negative is hard.
        positives: `Rows`.
        negatives: list of rows [n, F], the first those of the last fit.
        new: how many negatives are behind these.
    """

    def __init__(self, width: int, most: int = MOST) -> None:
        self.weights, self.bias = np.zeros(width, "float32"), np.inf
        self.positives, self.negatives = Rows(width, most), [np.zeros((0, width), "float32")]
        self.new, self.most, self.refit = 0, most, min(REFIT, most)

    def hard(self, margins: np.ndarray) -> np.ndarray:
        """Indices of those of an image's negatives that are to be kept, by their margins [n]; before the first fit no
        more than that takes."""
        hard = np.flatnonzero(margins > HARD)
        return hard if np.isfinite(self.bias) else hard[: self.refit - self.new]

    def add(self, positives: np.ndarray, negatives: np.ndarray, scale: float) -> None:
        """Take the positives [n, F] and the hard negatives [m, F] of an image; `scale` is as of `fit`."""
        self.positives.add(positives)
        if len(negatives):
            self.negatives.append(negatives)
            self.new += len(negatives)
        if self.new >= self.refit and len(self.positives):
            self.fit(scale)

    def fit(self, scale: float) -> None:
        """Fit the SVM to the examples, whose features are multiplied by `scale`, and drop easy negatives of many."""
        from sklearn.svm import LinearSVC

        positives, negatives = self.positives.all(), np.concatenate(self.negatives)
        if not len(positives) or not len(negatives):
            self.weights, self.bias = np.zeros_like(self.weights), -NEVER if len(positives) else NEVER
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
        self.weights, self.bias = (svm.coef_[0] * scale).astype("float32"), float(svm.intercept_[0])
        margins = negatives @ self.weights + self.bias
        count = np.clip(np.count_nonzero(margins >= EASY), self.refit, self.most)
        kept = np.sort(np.argsort(-margins, kind="stable")[:count])
        self.negatives, self.new = [negatives[kept]], 0


class BoxRidge:
    """The ridge regression of a class's boxes, and its examples.

    Args:
        width: F.
        most: examples that are kept.
    """

    def __init__(self, width: int, most: int = MOST) -> None:
        self.examples = Rows(width + 4, most)

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
        # Of a class there are up to twice as many rows of three kinds at a time.
        most = max(1, min(MOST, MEMORY // (6 * 4 * width * max(1, num_classes - 1))))
        self.svms = [Svm(width, most) for _ in range(1, num_classes)]
        self.ridges = [BoxRidge(width, most) for _ in self.svms]
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
        free = ~(overlaps(others, truth[class_ids < 0], over="first") >= CROWD_OVERLAP).any(axis=1)
        margins = rows @ np.stack([svm.weights for svm in self.svms], axis=1) + [svm.bias for svm in self.svms]
        for class_id, (svm, ridge) in enumerate(zip(self.svms, self.ridges, strict=True), 1):
            if not active[class_id]:
                continue
            own = np.flatnonzero(class_ids == class_id)
            best = iou[:, own].max(axis=1, initial=0)
            negative = np.flatnonzero(free & (best < NEGATIVE_IOU))
            hard = negative[svm.hard(margins[negative, class_id - 1])]
            svm.add(features[own], rows[hard], self.scale)
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
