"""Try weights in the browser: drop an image on a page and see the boxes, masks and keypoints that are found in it.

    pip install -e ".[app]"                         # once: Gradio, which serves the page
    python samples/app.py                           # with the last run under logs/, else the shapes' weights
    python samples/app.py --model my.h5             # a path, or coco: the original's release, downloaded
    python samples/app.py --dataset my/folder       # runs on that set: class names from its annotations

Weights found under logs/ and weights/ can be chosen on the page. It is served to this machine alone and needs no
network; what is dropped on it, files of 100 MB at most, is deleted when the program ends. Whatever has a score of 0.05
is kept, so moving the threshold takes no other detection.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.cli import program

program.begin(__name__)

import base64
import colorsys
import html
import io
import json
import os
import tempfile
import time
from contextlib import contextmanager
from functools import lru_cache, partial

import app_models
import coco
import numpy as np
import options
import shapes
from pictures import enlarge
from PIL import Image
from pycocotools import mask as rle

from mrcnn import visualize, weights
from mrcnn.cli import arguments
from mrcnn.config import Config
from mrcnn.data.reading import read_image, write_image
from mrcnn.draw import instances as draw
from mrcnn.evaluate import to_coco_results
from mrcnn.ops.boxes import cover
from mrcnn.ops.files import whole
from mrcnn.ops.images import convert_channels

HEADERS = ["class", "score", "x", "y", "width", "height", "mask pixels", "keypoints"]

# Pixels of the picture's longer side: enough for labels beside small objects, few enough to be drawn at once.
SMALLEST, LARGEST = 768, 1600

STYLE = """<style>
.found { width: 100%; max-height: 70vh; }
.found path { fill: transparent; vector-effect: non-scaling-stroke; }
.found path:hover { fill: #fff4; stroke: #fff; stroke-width: 3; }
</style>"""

# Nothing leaves this machine: no public link, no statistics, no history of runs, no footer with links.
LAUNCH = {"server_name": "127.0.0.1", "share": False, "quiet": True, "footer_links": [], "ssr_mode": False}
LARGEST_FILE = "100mb"
# Names of this machine. Under any other a page of a stranger would reach this one through the browser.
HOSTS = ["127.0.0.1", "localhost"]
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


class Found:
    """What was found in an image, for the page to show as much of it as a threshold lets through.

    Args:
        detector: a `Detector`.
        path: an image file.

    Raises:
        OSError, ValueError: it cannot be read; the message is one line with the file's name.
    """

    def __init__(self, detector, path):
        config, path = detector.model.config, Path(path)
        try:
            image = read_image(path, config.IMAGE_CHANNEL_COUNT)
        except (OSError, ValueError) as error:  # on the page a file has no folder
            raise type(error)(str(error).replace(str(path), path.name)) from error
        (result,) = detector.model.detect([image])
        entries = to_coco_results(detector.dataset, 0, result)
        self.name, self.class_names, self.skeleton = path.name, detector.dataset.class_names, config.KEYPOINT_SKELETON
        self.entries = [{**entry, "image_id": path.name} for entry in entries]
        self.image, self.result = shrink(*enlarge(image, result, SMALLEST))
        self.boxes = cover(np.reshape(self.result["rois"], (-1, 4)))
        masks = self.result.get("masks")
        self.outlines = [
            outline(box, None if masks is None else masks[..., i]) for i, box in enumerate(self.boxes.tolist())
        ]
        # A golden angle apart, so each keeps its colour whatever the threshold, and the first few differ well.
        self.colors = [colorsys.hsv_to_rgb(i * 0.618 % 1, 1, 1) for i in range(len(entries))]
        self.folder = tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR"))

    def count(self, threshold):
        """Number of detections with at least this score. They are the first, as `detect` has them in its order."""
        return int(np.count_nonzero(self.result["scores"] >= threshold))

    def draw(self, threshold):
        """The picture [H, W, 3] uint8: the image, enlarged where it is small and shrunk where it is large."""
        n = self.count(threshold)
        kept = {key: value[..., :n] if key == "masks" else value[:n] for key, value in self.result.items()}
        return visualize.draw_instances(
            self.image, kept, self.class_names, threshold, self.colors[:n], skeleton=self.skeleton
        )

    def view(self, threshold):
        """HTML: how many there are, and the picture in which every instance says its class and score on hovering."""
        n, picture, data = self.count(threshold), Image.fromarray(self.draw(threshold)), io.BytesIO()
        width, height = picture.size
        picture.save(data, "JPEG", quality=90, subsampling=0)
        areas = np.prod(self.boxes[:n, 2:] - self.boxes[:n, :2], axis=1)
        paths = [  # the smallest come last, on top
            f'<path d="{self.outlines[i]}"><title>{html.escape(self.label(i))}</title></path>'
            for i in np.argsort(-areas, kind="stable")
        ]
        return (
            f"{STYLE}<p>{html.escape(self.name)}: {n} of {len(self.entries)} detections have a score of at least "
            f'{threshold:.2f}</p><svg class="found" viewBox="0 0 {width} {height}"><image width="{width}" '
            f'height="{height}" href="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"/>'
            f"{''.join(paths)}</svg>"
        )

    def label(self, i):
        """Class and score of detection i, as in "disk 0.98"."""
        return f"{self.class_names[self.result['class_ids'][i]]} {self.result['scores'][i]:.2f}"

    def table(self, threshold):
        """A row as in HEADERS for each detection; pixels are the file's."""
        rows = []
        for i, entry in enumerate(self.entries[: self.count(threshold)]):
            name, box = self.class_names[self.result["class_ids"][i]], [round(side) for side in entry["bbox"]]
            pixels = int(rle.area(entry["segmentation"])) if "segmentation" in entry else ""
            scores = entry.get("keypoints", [])[2::3]
            points = sum(score >= draw.KEYPOINT_THRESHOLD for score in scores) if scores else ""
            rows.append([name, round(entry["score"], 3), *box, pixels, points])
        return rows

    def save(self, threshold):
        """Write the picture and the detections in COCO's results format, image_id being the file's name.

        Returns:
            both paths.
        """
        stem = Path(self.folder) / f"{Path(self.name).stem} {threshold:.2f}"
        picture, results = f"{stem}.png", f"{stem}.json"
        write_image(picture, self.draw(threshold))
        with whole(results) as new:
            new.write_text(json.dumps(self.entries[: self.count(threshold)], indent=1))
        return picture, results


def shrink(image, result, side=LARGEST):
    """A large image and its detections a whole number of times smaller, with `side` pixels at most."""
    factor = -(-max(image.shape[:2]) // side)
    if factor == 1:
        return image, result
    image = np.asarray(Image.fromarray(convert_channels(image, 3)).reduce(factor))
    result = {**result, "rois": -(-result["rois"] // factor)}  # where the mask's pixels begin and end
    if "masks" in result:
        result["masks"] = result["masks"][::factor, ::factor].copy(order="K")
    if "keypoints" in result:  # the centre of pixel 0 is at 0
        result["keypoints"] = (result["keypoints"] + (0.5, 0.5, 0)) / (factor, factor, 1) - (0.5, 0.5, 0)
    return image, result


def outline(box, mask=None):
    """The SVG path around a mask [H, W], else around its box (y1, x1, y2, x2), in pixels."""
    y1, x1, y2, x2 = box
    around = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if mask is not None:
        inside = shapes.polygons(mask[y1:y2, x1:x2].astype("float32"))
        around = [np.add(polygon, (x1, y1) * (len(polygon) // 2)).tolist() for polygon in inside] or around
    return "".join(f"M{' '.join(f'{v:g}' for v in polygon)}Z" for polygon in around)


def build_page(load, choices, chosen=None):
    """The page, a `gradio.Blocks`.

    Args:
        load: function from what was chosen, a path or "coco", to a `Detector`; it raises ValueError or OSError.
        choices: what can be chosen; any other path can be typed.
        chosen: the choice to begin with.
    """
    import gradio as gr

    def detect(weights_path, image_path, threshold):
        if image_path is None:
            return None, "", [], *offer(None, None)
        try:
            if not weights_path:
                raise ValueError("Choose weights first, or type the path of a file.")
            found = Found(load(weights_path), image_path)
        except (ValueError, OSError) as error:
            return None, f'<p role="alert">{html.escape(str(error))}</p>', [], *offer(None, None)
        return found, *show(found, threshold)

    def show(found, threshold):
        if found is None:
            return [gr.skip()] * 4
        return found.view(threshold), found.table(threshold), *offer(None, None)

    def save(found, threshold):
        return offer(*found.save(threshold)) if found else offer(None, None)

    def offer(*paths):
        return [gr.DownloadButton(value=path, interactive=path is not None) for path in paths]

    with gr.Blocks(title="Mask R-CNN", analytics_enabled=False) as page:
        found = gr.State()
        weights_path = gr.Dropdown(choices, value=chosen, allow_custom_value=True, label="Weights")
        with gr.Row():
            with gr.Column(scale=1):
                image_path = gr.File(label="Image", height=140)
                threshold = gr.Slider(0.05, 1, Config.DETECTION_MIN_CONFIDENCE, step=0.01, label="Lowest score")
                with gr.Row():
                    picture = gr.DownloadButton("Picture", interactive=False, size="md", min_width=80)
                    results = gr.DownloadButton("COCO results", interactive=False, size="md", min_width=80)
            with gr.Column(scale=2):
                view = gr.HTML()
        table = gr.Dataframe(headers=HEADERS, interactive=False, label="Detections")
        shown = [view, table, picture, results]
        new = gr.on(
            [image_path.change, weights_path.change], detect, [weights_path, image_path, threshold], [found, *shown]
        )
        moved = threshold.change(show, [found, threshold], shown, show_progress="hidden", trigger_mode="always_last")
        for event in (new, moved):  # the picture does not wait for files
            event.then(save, [found, threshold], [picture, results], show_progress="hidden")
    return page


@contextmanager
def folder_of_its_own():
    """A folder for what the page writes, which goes however the program ends."""
    with program.temporary_folder("mrcnn-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield folder
        finally:
            os.environ.pop("GRADIO_TEMP_DIR", None)


def launch(page, port=None):
    """Serve the page in threads of its own; its address."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app = {"middleware": [hosts]}
    try:
        _, address, _ = page.launch(
            server_port=port, prevent_thread_lock=True, max_file_size=LARGEST_FILE, app_kwargs=app, **LAUNCH
        )
    except OSError as error:
        raise OSError(f"The page has no port: {port or 'all that are tried'} is taken; name one by --port.") from error
    return address


def parse_arguments(argv=None):
    """The command line."""
    parser, path = arguments.Parser("app.py", __doc__), arguments.path
    parser.add_argument(
        "--model", type=path, metavar="WEIGHTS", help="coco, or a path as of coco.py; default: the last run"
    )
    parser.add_argument(
        "--logs", type=path, default=coco.DEFAULT_LOGS_DIR, metavar="DIR", help="folder of runs (default: logs)"
    )
    parser.add_argument("--dataset", type=path, metavar="DIR", help="folder in COCO's format; the weights' classes")
    port = "of the page's address; default: 7860, or the next that is free"
    parser.add_argument("--port", type=arguments.whole(1, 2**16 - 1), help=port)
    return parser.parse_args(argv)


@folder_of_its_own()  # before Gradio, which makes a folder when it is imported
def serve(args):
    """Serve the page until Ctrl-C."""
    os.environ.update(QUIET)
    # A proxy for the network outside is none for this machine.
    os.environ["NO_PROXY"] = f"{os.environ.get('NO_PROXY', '')},127.0.0.1".lstrip(",")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(f"The page needs Gradio: pip install gradio ({error})") from error
    names = None
    if args.dataset:
        classes = coco.load_dataset(coco.parse_arguments(["detect", "--dataset", args.dataset]), "val").class_info
        names = {info["id"]: info["name"] for info in classes[1:]}
    load = lru_cache(maxsize=2)(partial(app_models.load_detector, names=names, logs=args.logs))
    if args.model:
        load(args.model)
    shipped = [os.path.relpath(weights.download(name)) for name in options.SHIPPED]
    choices = [args.model] * bool(args.model) + app_models.find_weights(args.logs, weights.default_folder()) + shipped
    page = build_page(load, list(dict.fromkeys([*choices, "coco"])), choices[0] if choices else None)
    print(f"The page is at {launch(page, args.port)} - Ctrl-C ends it.", flush=True)
    try:
        while True:
            time.sleep(60)
    finally:
        page.close(verbose=False)


def main(argv=None):
    """Serve the page; see `mrcnn.cli.program.run` for the exit code."""
    return program.run("app.py", lambda: serve(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
