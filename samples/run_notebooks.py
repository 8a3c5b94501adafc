"""Run the notebooks from top to bottom and save them with what they show. Weights that are missing are trained first.

python samples/run_notebooks.py                 # all of them
python samples/run_notebooks.py demo pose       # some
python samples/run_notebooks.py --colab         # run nothing, write how to open them in Google Colab
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import base64
import configparser
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

# Pictures of the documentation that are a notebook's: its name, a title in the cell that draws it, and the file.
DOCUMENTED = {"inspect_model": ("the 12 surest after NMS", FOLDER.parent / "docs" / "stages.png")}

COLAB = "https://colab.research.google.com"
INSTALL = """# On Google Colab this installs mrcnn; elsewhere it does nothing.
import os
import sys

if "google.colab" in sys.modules and not os.path.exists("lessons.py"):
    if not os.path.exists("mrcnn"):
        {fetch}
        %pip install -q ./mrcnn
    %cd mrcnn/samples
    sys.path.insert(0, "")"""
UPLOAD = f"""To run this on [Google Colab]({COLAB}), upload it there (File, Upload notebook), and beside it the
whole checkout as one file (the folder symbol on the left): `git archive -o mrcnn.zip HEAD` makes it. The next cell
installs what is in it."""


def address():
    """OWNER/NAME of the project on GitHub by `url` in setup.cfg; None while it has none.

    Raises:
        ValueError: `url` is of another kind.
    """
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(FOLDER.parent / "setup.cfg", encoding="utf-8")
    url = setup.get("metadata", "url", fallback=None)
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", url or "")
    if url and not found:
        raise ValueError(f"setup.cfg: url is {url}; notebooks need https://github.com/OWNER/NAME")
    return found and found[1]


def begin(notebook, name, address):
    """Write behind the title of a notebook how it is opened in Google Colab: a text, and code that installs.

    Args:
        address: OWNER/NAME on GitHub; None for a project that is published nowhere, of which a file is uploaded.
    """
    text, fetch = UPLOAD, "!unzip -q mrcnn.zip -d mrcnn"
    if address:
        badge, link = f"{COLAB}/assets/colab-badge.svg", f"{COLAB}/github/{address}/blob/main/samples/{name}.ipynb"
        text, fetch = f"[![Open in Colab]({badge})]({link})", f"!git clone -q https://github.com/{address} mrcnn"
    cells = notebook.cells
    if INSTALL.splitlines()[0] in cells[2].source:
        del cells[1:3]
    cells[1:1] = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(INSTALL.format(fetch=fetch))]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i:02d}"
    for count, cell in enumerate([cell for cell in cells if cell.cell_type == "code"], 1):
        cell.execution_count = count


def run(name, folder, kernel=None):
    """The notebook `name`, executed in `folder`, with its outputs and nothing else that changes from run to run.

    Args:
        kernel: manager of the kernel that runs it; None for one of its own.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message holds the cell and its traceback.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    begin(notebook, name, address())
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook,
        km=kernel,
        resources=place,
        startup_timeout=600,  # seconds: a busy machine takes more than the usual 60
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
    notebook = run(name, FOLDER)
    with whole(path) as new:
        nbformat.write(notebook, new)
    if name in DOCUMENTED:
        with whole(DOCUMENTED[name][1]) as new:
            new.write_bytes(documented(notebook, name))
    return f"{name}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB"


def documented(notebook, name):
    """The picture of a notebook that the documentation shows, as a PNG's bytes."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and DOCUMENTED[name][0] in cell.source]
    return base64.b64decode(next(x.data["image/png"] for x in cell.outputs if "image/png" in x.get("data", {})))


def write_beginnings(names):
    """Write the beginnings of the notebooks `names`, and leave the rest as it is."""
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        begin(notebook, name, address())
        with whole(path) as new:
            nbformat.write(notebook, new)


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
    """What the command line asks for; `names` is the set of notebooks."""
    parser = arguments.Parser("run_notebooks.py", __doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--colab", action="store_true", help="run nothing, write how to open them in Google Colab")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in NAMES:
            parser.error(f"there is no notebook {name!r}; choose from {', '.join(NAMES)}")
    args.names = set(args.names or NAMES)
    return args


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


def start(args):
    """Do what the command line says."""
    (write_beginnings if args.colab else work)(args.names)


def main(argv=None):
    """Run the notebooks; see `mrcnn.cli.program.run` for the exit code."""
    return program.run("run_notebooks.py", lambda: start(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
