"""How good detections are: COCO's numbers, PASCAL's, and tables of them."""

from mrcnn.evaluate.coco import ENGINES, KEYPOINT_METRICS, METRICS, coco_metrics
from mrcnn.evaluate.during_training import Evaluation
from mrcnn.evaluate.frequency import frequency_groups, image_counts
from mrcnn.evaluate.results import own_results, to_coco_results
from mrcnn.evaluate.run import evaluate, evaluate_in_full
from mrcnn.evaluate.semantic import confusion, semantic_metrics
from mrcnn.evaluate.swaps import count_swaps
from mrcnn.evaluate.tables import format_classes, format_groups, format_table
from mrcnn.evaluate.truth import ground_truth
from mrcnn.evaluate.voc import voc_metrics
