"""What programs let through of what is said while TensorFlow is imported: a package of that name says all kinds."""

import logging
import os
import subprocess
import sys

import pytest
from real_data import ROOT

from mrcnn.cli import quiet

INFORMATION = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795746857.541791   18565 cudart_stub.cc:31] Could not find cuda drivers on your machine
2026-11-27 02:35:24.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
"""
NEWS = """W0000 00:00:1795746857.541791   18565 gpu_device.cc:2341] Cannot dlopen some GPU libraries.
E0000 00:00:1795746857.541791   18565 cuda_dnn.cc:8579] something is broken
2026-11-27 02:35:24.123456: E tensorflow/core/util/port.cc:153] this, too
Illegal instruction
"""


@pytest.mark.parametrize(
    "end, code",
    [("", 0), ("raise ImportError('no such library')", 2), ("os.abort()", -6), ("os.write(2, b'half a line')", 0)],
)
def test_information_is_left_out(end, code, tmp_path):
    """Whatever happens then; what is said afterwards passes as it is."""
    (tmp_path / "tensorflow").mkdir()
    said = "".join(f"{a}\n{b}\n" for a, b in zip(INFORMATION.splitlines(), NEWS.splitlines(), strict=True))
    (tmp_path / "tensorflow" / "__init__.py").write_text(f"import os\nos.write(2, {said.encode()!r})\n{end}\nx = 1\n")
    (tmp_path / "tensorflow" / "part.py").write_text("y = 2\n")
    lines = """import os
from mrcnn.cli import program
program.begin("__main__")
import tensorflow
from tensorflow import part
assert (tensorflow.x, part.y, tensorflow.__name__) == (1, 2, "tensorflow")
os.write(2, b"I0000 afterwards\\n")
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", lines], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    rest = {"": "I0000 afterwards\n", "os.write(2, b'half a line')": "half a lineI0000 afterwards\n", "os.abort()": ""}
    assert done.stderr == NEWS + rest.get(end, "-c: error: no such library\n")


@pytest.mark.parametrize(
    "said, news",
    [
        ("5 out of the last 5 calls to %s triggered tf.function retracing.", False),
        ("Gradients do not exist for variables %s.", True),
    ],
)
def test_images_of_another_shape_are_no_news(said, news):
    assert quiet.is_news(logging.LogRecord("tensorflow", logging.WARNING, "x", 1, said, ("f",), None)) is news
