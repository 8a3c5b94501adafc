"""The heatmaps that a detector of points should give: of centres and joints (Zhou et al. 2019, section 3), of corners
(Law and Deng 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrcnn.data.samples import Sample
from mrcnn.ops.heatmaps import cells_of, gaussian_radius, paint_gaussian


class HeatmapTargets:
    """Encoder of input_heatmap [rows, columns, classes] float32: 1 in the cells of the centres of instances, Gaussians
    about them, -1 in crowds, where nothing is to be learnt; with joints input_joint_heatmap [rows, columns, joints],
    which has Gaussians of the instance's radius about each of its known joints.

    Args:
        shape: (rows, columns).
        stride: pixels of a cell's side.
        classes: without the background.
        joints: 0 for none.
        overlap, radius: as `overlap` and `how` of `gaussian_radius`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        stride: int,
        classes: int,
        joints: int = 0,
        overlap: float = 0.7,
        radius: str = "exact",
    ) -> None:
        self.shape, self.stride, self.classes, self.joints = tuple(shape), stride, classes, joints
        self.overlap, self.radius = overlap, radius

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        objects = sample.class_ids > 0
        boxes, radii = self._boxes(sample)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        crowds = self._crowds(sample)
        maps = {"input_heatmap": self._painted(self.classes, centres, sample.class_ids[objects] - 1, radii, crowds)}
        if self.joints:
            points = sample.points[objects]
            of, joint = np.nonzero(points[..., 2] > 0)
            places = (points[of, joint, 1::-1] + 0.5) / self.stride  # pixel 0 reaches from 0 to 1
            maps["input_joint_heatmap"] = self._painted(self.joints, places, joint, radii[of], crowds)
        return maps

    def _boxes(self, sample):
        """The boxes of objects [n, 4] in cells, and the radii of their Gaussians [n] int."""
        boxes = sample.boxes[sample.class_ids > 0] / self.stride
        return boxes, gaussian_radius(boxes[:, 2:] - boxes[:, :2], self.overlap, self.radius).astype(int)

    def _painted(self, count, places, channels, radii, crowds):
        """A map of each of `count` channels with the places [n, 2] in cells, each in one of them."""
        heatmaps = np.zeros((count, *self.shape), "float32")
        _, corners = cells_of(places, self.shape)
        for (row, column), channel, radius in zip(corners.astype(int).tolist(), channels, radii.tolist(), strict=True):
            paint_gaussian(heatmaps[channel], row, column, radius)
        heatmaps[crowds & (heatmaps < 1)] = -1
        return np.moveaxis(heatmaps, 0, -1)

    def _crowds(self, sample):
        """[rows, columns] cells whose middle lies in a crowd."""
        y, x = (self.stride * (np.arange(count) + 0.5) for count in self.shape)
        inside = np.zeros(self.shape, bool)
        for y1, x1, y2, x2 in sample.boxes[sample.class_ids < 0]:
            inside |= ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))
        return inside


class CornerTargets(HeatmapTargets):
    """Encoder of input_top_left_heatmap and input_bottom_right_heatmap, of corners as `HeatmapTargets` has centres."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        boxes, radii = self._boxes(sample)
        classes, crowds = sample.class_ids[sample.class_ids > 0] - 1, self._crowds(sample)
        places = {"top_left": boxes[:, :2], "bottom_right": boxes[:, 2:]}
        return {
            f"input_{corner}_heatmap": self._painted(self.classes, at, classes, radii, crowds)
            for corner, at in places.items()
        }
