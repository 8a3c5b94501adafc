import numpy as np
from keras import ops

from mrcnn.ops import meta as image_meta


def test_compose_image_meta(golden):
    """Always float32; the original's dtype followed its arguments, so that an int scale of 1 made it int64."""
    data = golden("utils_golden.npz", "compose_image_meta")
    meta = image_meta.compose_image_meta(**data.args)
    np.testing.assert_allclose(meta, data.outs["meta"], rtol=1e-6)
    integers = image_meta.compose_image_meta(**{**data.args, "scale": 1})
    assert meta.dtype == integers.dtype == np.float32
    assert integers[11] == 1


def test_parse_image_meta(golden):
    data = golden("utils_golden.npz", "parse_image_meta")
    parsed = image_meta.parse_image_meta(data.ins["meta"])
    assert list(parsed) == list(data.outs)
    for name, expected in data.outs.items():
        assert parsed[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(parsed[name], expected)
    tensors = image_meta.parse_image_meta(ops.convert_to_tensor(data.ins["meta"].astype("float32")))
    for name, expected in data.outs.items():
        assert not isinstance(tensors[name], np.ndarray)
        np.testing.assert_allclose(ops.convert_to_numpy(tensors[name]), expected, rtol=1e-6)
