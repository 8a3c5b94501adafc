"""What devices can do."""

import pytest

from mrcnn.train.devices import check_width


def test_a_training_that_would_corrupt_memory_is_refused(monkeypatch):
    """TensorFlow's oneDNN ended trainings of networks of 4 and 6 channels by segmentation faults."""
    import tensorflow as tf
    from tensorflow.python.util import _pywrap_util_port

    eager = tf.config.functions_run_eagerly()
    try:
        for on, runs_eagerly in ((True, False), (True, True), (False, False)):
            monkeypatch.setattr(_pywrap_util_port, "IsMklEnabled", lambda on=on: on)
            tf.config.run_functions_eagerly(runs_eagerly)
            check_width(8)
            if on and not runs_eagerly:
                with pytest.raises(ValueError, match="BACKBONE_WIDTH is 6: below 8 .* or set TF_ENABLE_ONEDNN_OPTS=0"):
                    check_width(6)
            else:
                check_width(6)
    finally:
        tf.config.run_functions_eagerly(eager)
