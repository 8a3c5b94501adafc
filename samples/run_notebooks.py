"""Run the notebooks from top to bottom and save them with what they show. Weights that are missing are trained first.

python samples/run_notebooks.py                 # all of them
python samples/run_notebooks.py demo pose       # some
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import base64
import io
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

from mrcnn.cli import arguments
from mrcnn.ops.files import whole

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
LEVELS = 52


def run(name, folder, kernel=None):
    """The notebook `name`, executed in `folder`, with its outputs and nothing else that changes from run to run.

    Args:
        kernel: manager of the kernel that runs it; None for one of its own.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message holds the cell and its traceback.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook,
        km=kernel,
        resources=place,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,  # shows a progress bar as it was last
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],  # TensorFlow's chatter goes to the terminal
    ).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":  # a slider moves only where a kernel runs
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = re.sub(r"\x1b\[[\d;]*m|━+ *", "", output.text)  # colours and bars
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = shrink(output.data["image/png"])
    return notebook


def save(name):
    """Run the notebook `name` and write it over itself; returns what that took, in a line."""
    start = time.monotonic()
    path = FOLDER / f"{name}.ipynb"
    with whole(path) as new:
        nbformat.write(run(name, FOLDER), new)
    return f"{name}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB"


def shrink(png):
    """A picture (base64) with `LEVELS` values of red, green and blue each, which no eye sees and takes half the bytes.

    A palette would be smaller still, but lines and letters would take the colours of others.
    """
    picture, small = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    step = 255 / (LEVELS - 1)
    rounded = np.rint(np.rint(np.asarray(picture) / step) * step).astype("uint8")
    Image.fromarray(rounded).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def parse_arguments(argv=None):
    """The notebooks that the command line names."""
    parser = arguments.Parser("run_notebooks.py", __doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; default: all")
    names = parser.parse_args(argv).names
    for name in names:
        if name not in NAMES:
            parser.error(f"there is no notebook {name!r}; choose from {', '.join(NAMES)}")
    return set(names or NAMES)


def work(names):
    """Run and save the notebooks `names`."""
    arguments.check_folder(FOLDER)

    import trained

    os.chdir(FOLDER)
    trained.weights(trained.SHAPES)
    # Two at a time, as much of it runs on one core: the second training, in a process of its own, beside the notebooks
    # that need only the first, of which train_shapes takes longest.
    pool, training = ThreadPoolExecutor(2), None
    if "pose" in names:
        training = subprocess.Popen([sys.executable, "-c", "import trained; trained.weights(trained.POSE)"])
        trained_code = pool.submit(training.wait)
    try:
        for line in pool.map(save, sorted(names - {"pose"}, reverse=True)):
            print(line, flush=True)
        if training:
            if trained_code.result():
                raise RuntimeError("The weights of the notebook pose could not be trained.")
            print(save("pose"))
    except KeyboardInterrupt:
        if training:
            training.terminate()
        program.leave()  # at once: threads wait for the notebooks' kernels, which end with this process


def main(argv=None):
    """Run the notebooks; see `mrcnn.cli.program.run` for the exit code."""
    return program.run("run_notebooks.py", lambda: work(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
