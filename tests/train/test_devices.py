"""What devices can do."""

import pytest

from mrcnn.train.devices import check_width


def test_a_training_that_would_corrupt_memory_is_refused(monkeypatch):
    """TensorFlow's oneDNN ended trainings of networks of 4 and 6 channels by segmentation faults."""
    from tensorflow.python.util import _pywrap_util_port

    check_width(8)
    monkeypatch.setattr(_pywrap_util_port, "IsMklEnabled", lambda: True)
    check_width(8)
    with pytest.raises(ValueError, match="BACKBONE_WIDTH is 6: below 8 .* or set TF_ENABLE_ONEDNN_OPTS=0"):
        check_width(6)
    monkeypatch.setattr(_pywrap_util_port, "IsMklEnabled", lambda: False)
    check_width(6)
