"""The page about an evaluation: what it says, that nothing in it gets out of hand, and how a browser sees it."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from squares import Model, Squares, found

from mrcnn.draw.mistakes import COLORS, draw_pair
from mrcnn.draw.report import check, write_report
from mrcnn.evaluate import evaluate_in_full

EVIL = "<script>alert('x')</script> & \"Müller\" 细胞"

# Right, of the wrong class, badly placed; in the crowd; nowhere.
ANSWERS = [
    found((0, 0, 40, 40, 1, 0.9), (50, 50, 90, 90, 2, 0.8)),
    found((70, 70, 90, 78, 2, 0.7), (10, 10, 30, 30, 1, 0.6)),
    found((0, 0, 20, 20, 1, 0.95)),
]


class Page(HTMLParser):
    """Tags with their attributes, texts, and rows of tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text, self.cell = [], [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data.strip()


class Named(Squares):
    def __init__(self):
        super().__init__()
        self.class_info[1]["name"] = EVIL
        self.image_info[0]["path"] = f"{EVIL.replace('/', '')}.png"
        self.image_info[1]["path"] = "M\udcfc b.png"  # of a disk with other letters than UTF-8
        self.prepare()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    dataset = Named()
    evaluated = evaluate_in_full(Model(ANSWERS), dataset, verbose=0)
    return write_report(tmp_path_factory.mktemp("report") / "new" / "folder", dataset, evaluated), evaluated


@pytest.fixture(scope="module")
def page(written):
    return Page(written[0].read_text(encoding="utf-8"))


def test_one_file_without_a_network(written, page):
    path, _ = written
    assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert links and all(link.startswith("data:image/jpeg;base64,") for link in links)


def test_names_are_escaped(written, page):
    assert "script" not in {tag for tag, _ in page.tags}
    assert EVIL in page.text and f"{EVIL.replace('/', '')}.png" in page.text
    assert [row for row in page.rows if row[0] == EVIL]
    assert r"M\udcfc b.png: 1 missed" in page.text


def test_numbers(written, page):
    metrics = written[1].metrics["segm"]
    (coco,) = [row for row in page.rows if row[0] == "mask"]
    assert coco[1] == f"{metrics['AP']:.3f}" and coco[6] == "–"  # no large object
    row = next(row for row in page.rows if row[0] == EVIL)
    assert row[1] == "2" and row[5:] == [f"{value:.3f}" for value in metrics["per_class"][EVIL].values()]
    mistakes = [row for row in page.rows if row[0] in COLORS and len(row) == 4][-8:-1]  # of masks; then the matrix
    assert [(kind, all_scores) for kind, all_scores, *_ in mistakes] == [
        ("localisation", "1"),
        ("class", "1"),
        ("both", "0"),
        ("duplicate", "0"),
        ("background", "1"),
        ("missed", "0"),
        ("correct", "1"),
    ]
    assert float(mistakes[1][3]) > 0


def test_confusion_matrix(page):
    """F1 is highest with the scores from 0.9 on: one is right, one nowhere; an object of each class is not found."""
    assert page.rows[-3:] == [["background", "", "1", ""], [EVIL, "1", "1", ""], ["nine", "1", "", ""]]


def test_worst_images_first(page):
    captions = re.findall(r"(\S+\.png): (\d \w+)\s", page.text)
    assert [(name[-6:], what) for name, what in captions] == [
        ("细胞.png", "1 missed"),
        ("b.png", "1 missed"),
        ("c.png", "1 background"),
    ]
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 6
    sizes = {Image.open(BytesIO(base64.b64decode(src.partition(",")[2]))).size for src in images}
    assert sizes == {(400, 400)}


def test_pairs():
    """A large image is shrunk; what is missed and what is wrong have their colours."""
    image = np.zeros((1600, 100, 3), "uint8")
    truths = [{"id": 1, "category_id": 1, "bbox": [10, 10, 50, 50]}]
    detections = [{"category_id": 1, "bbox": [10, 800, 50, 50], "score": 0.9}]
    left, right = draw_pair(image, truths, {1}, detections, ["background"], ["BG", "one"])
    assert left.shape == right.shape == (800, 50, 3)
    red = tuple(round(255 * channel) for channel in COLORS["missed"])
    assert tuple(left[29, 15]) == red and not right[29, 15].any()
    assert tuple(right[424, 15]) == red and not left[424, 15].any()


def test_only_an_older_report_may_be_there(written, tmp_path):
    path, _ = written
    for folder in (tmp_path, tmp_path / "new", path.parent):
        check(folder)
    (tmp_path / "index.html").write_text("<html>somebody's</html>")
    with pytest.raises(ValueError, match=f"^{tmp_path} is there already and holds no older report"):
        check(tmp_path)


def test_nothing_found_and_images_that_are_gone(tmp_path):
    class Gone(Squares):
        def load_image(self, image_id):
            if image_id == 0 and self.gone:
                raise OSError("gone")
            return super().load_image(image_id)

    dataset, Gone.gone = Gone(), False
    evaluated = evaluate_in_full(Model([found()] * 3), dataset, verbose=0)
    Gone.gone = True
    page = Page(write_report(tmp_path, dataset, evaluated).read_text())
    assert "cannot be read" in page.text and sum(tag == "img" for tag, _ in page.tags) == 2


def test_in_a_browser(written, tmp_path):
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium or its chromedriver is not installed")
    picture, profile = tmp_path / "page.png", f"--user-data-dir={tmp_path / 'profile'}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", profile, "--window-size=1280,1600"]
    command = [chromium, *options, f"--screenshot={picture}", written[0].as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (1600, 1280, 3)
    for kind in ("correct", "background"):  # the bars of scores, which the window reaches down to
        assert (pixels == [round(255 * channel) for channel in COLORS[kind]]).all(axis=-1).sum() > 1000
