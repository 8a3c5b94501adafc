"""What is found, for other packages: supervision (annotators, trackers), SAHI (large images in slices). Each is
imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrcnn.ops.masks import decode_rle
from mrcnn.ops.polygons import to_polygons


def to_supervision(result: Mapping[str, Any], class_names: Sequence[str] | None = None) -> Any:
    """What `detect` returns for an image as `supervision.Detections`.

    Args:
        result: rois, class_ids, scores, and where there are any masks ([H, W, n], or n run lengths) and track_ids.
        class_names: by class ids; they are `data["class_name"]`.
    """
    import supervision

    ids = np.asarray(result["class_ids"], int)
    y1, x1, y2, x2 = np.asarray(result["rois"], "float32").reshape(-1, 4).T
    names = {} if class_names is None else {"class_name": np.asarray(class_names, object)[ids].astype(str)}
    masks, tracks = result.get("masks"), result.get("track_ids")
    if isinstance(masks, list):
        masks = np.stack([decode_rle(code) for code in masks], axis=-1) if masks else None
    return supervision.Detections(
        xyxy=np.stack([x1, y1, x2, y2], axis=1),
        mask=None if masks is None else np.moveaxis(masks, -1, 0).astype(bool),
        confidence=np.asarray(result["scores"], "float32"),
        class_id=ids,
        tracker_id=None if tracks is None else np.where(np.asarray(tracks, int) > 0, tracks, -1),  # -1 is none there
        data=names,
    )


def sahi_model(model: Any, class_names: Sequence[str], confidence_threshold: float = 0.3) -> Any:
    """A model for `sahi.predict.get_sliced_prediction`.

    Args:
        model: in inference mode.
        class_names: by class ids, the background first.
        confidence_threshold: detections below are left out.
    """
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction

    class Model(DetectionModel):
        def set_model(self, model: Any, **kwargs: Any) -> None:
            self.model = model

        def perform_inference(self, image: np.ndarray) -> None:
            self._original_predictions = image.shape[:2], self.model.detect([image])[0]

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            size, result = self._original_predictions
            shift = list(np.ravel(shift_amount_list or [0, 0])[:2])
            full = list(np.ravel(full_shape_list if full_shape_list is not None else size)[:2])
            found = []
            for i, (class_id, score) in enumerate(zip(result["class_ids"], result["scores"], strict=True)):
                y1, x1, y2, x2 = map(float, result["rois"][i])
                outlines = to_polygons(result["masks"][..., i]) if "masks" in result else []
                if score >= self.confidence_threshold and (outlines or "masks" not in result):
                    found.append(
                        ObjectPrediction(
                            bbox=[x1, y1, x2, y2],
                            category_id=int(class_id),
                            category_name=str(class_names[class_id]),
                            score=float(score),
                            segmentation=[rings[0].ravel().tolist() for rings in outlines] or None,
                            shift_amount=shift,
                            full_shape=full,
                        )
                    )
            self._object_prediction_list_per_image = [found]

    return Model(model=model, confidence_threshold=confidence_threshold)
