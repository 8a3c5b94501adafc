"""How good detections are: COCO's numbers, PASCAL's, and tables of them."""

from mrcnn.evaluate.coco import (
    KEYPOINT_METRICS,
    METRICS,
    Evaluation,
    coco_metrics,
    count_swaps,
    evaluate,
    format_classes,
    format_table,
    ground_truth,
    to_coco_results,
)
