"""Run the notebooks from top to bottom and save them with what they show. Weights that are missing are trained first.

python samples/run_notebooks.py                 # all of them
python samples/run_notebooks.py demo pose       # some
"""

import argparse
import base64
import io
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def run(name, folder):
    """The notebook `name`, executed in `folder`, with its outputs and nothing else that changes from run to run.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message holds the cell and its traceback.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook,
        resources=place,
        record_timing=False,
        coalesce_streams=True,  # shows a progress bar as it was last
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],  # TensorFlow's chatter goes to the terminal
    ).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.clear()
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = re.sub(r"\x1b\[[\d;]*m|━+ *", "", output.text)  # colours and bars
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = shrink(output.data["image/png"])
    return notebook


def train_pose():
    """Train the weights of the notebook `pose`, in a process of its own, which Ctrl-C reaches too.

    Raises:
        subprocess.CalledProcessError: it failed, and has said why.
    """
    subprocess.run([sys.executable, "-c", "import trained; trained.weights(trained.POSE)"], check=True)


def save(name):
    """Run the notebook `name` and write it over itself; returns what that took, in a line."""
    start = time.monotonic()
    path = FOLDER / f"{name}.ipynb"
    nbformat.write(run(name, FOLDER), path)
    return f"{name}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB"


def shrink(png):
    """A picture (base64) with 256 colours, which is a third of the bytes."""
    small = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; default: all")
    names = parser.parse_args(argv).names or NAMES
    for name in set(names) - set(NAMES):
        parser.error(f"there is no notebook {name}; choose from {', '.join(NAMES)}")

    import trained

    os.chdir(FOLDER)
    trained.weights(trained.SHAPES)
    # Two at a time, as much of it runs on one core: the second training beside the notebooks that need only the first,
    # of which train_shapes takes longest.
    others = sorted(set(names) - {"pose"}, reverse=True)
    with ThreadPoolExecutor(2) as pool:
        if "pose" in names:
            training = pool.submit(train_pose)
        for line in pool.map(save, others):
            print(line, flush=True)
        if "pose" in names:
            training.result()
            print(save("pose"))


if __name__ == "__main__":
    main()
