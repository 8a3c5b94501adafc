"""samples/app.py: what the page shows, and the page itself in a browser where there is one."""

import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from real_data import ROOT

sys.path.insert(0, str(ROOT / "samples"))

import app
import app_models
import shapes

from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.models.detectors import build_detector
from mrcnn.settings.detectors import practice


class SmallConfig(shapes.ShapesConfig):
    BACKBONE_WIDTH = 8
    TOP_DOWN_PYRAMID_SIZE = 8
    RPN_CHANNELS = MASK_CHANNELS = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64


def stub(height=64, width=96):
    """A detector that finds a disk, within it a square with two points, and something unsure, in any image."""
    masks = np.zeros((height, width, 3), bool)
    y, x = np.mgrid[:height, :width]
    masks[..., 0] = (y - 31.5) ** 2 + (x - 31.5) ** 2 < 24**2
    masks[24:40, 24:40, 1] = True
    masks[10:20, 70:90, 2] = True
    found = {
        "rois": np.array([[8, 8, 56, 56], [24, 24, 40, 40], [10, 70, 20, 90]], "int32"),
        "class_ids": np.array([1, 2, 3], "int32"),
        "scores": np.array([0.9, 0.8, 0.3], "float32"),
        "masks": masks,
        "keypoints": np.zeros((3, 2, 3), "float32"),
    }
    found["keypoints"][1] = (26, 30, 0.9), (37, 33, 0.01)
    config = SmallConfig().update(NUM_KEYPOINTS=2, KEYPOINT_SKELETON=[(0, 1)])
    model = SimpleNamespace(config=config, detect=lambda images: [found])
    return app_models.Detector(model, app_models.class_set({1: "disk", 5: "a <square>", 8: "cross"}))


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Where the page keeps its files, and a browser its profile and what it downloads."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**app.QUIET, "GRADIO_TEMP_DIR": str(folder), "NO_PROXY": "127.0.0.1,localhost"}.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.png"
    Image.fromarray(np.full((64, 96, 3), 60, "uint8")).save(path)
    return path


@pytest.fixture
def broken(tmp_path):
    """Files that are no image: text, one cut short, an empty one."""
    paths = [tmp_path / name for name in ("text.png", "cut short.jpg", "empty.jpg")]
    paths[0].write_text("no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype("uint8")).save(paths[1])
    paths[1].write_bytes(paths[1].read_bytes()[:2000])
    paths[2].touch()
    return paths


# Without a browser


def test_the_threshold_filters(photo):
    found = app.Found(stub(), photo)
    titles = {t: re.findall("<title>(.*?)</title>", found.view(t)) for t in (0.05, 0.3, 0.5, 0.8, 0.85, 1)}
    assert titles[0.05] == titles[0.3] == ["disk 0.90", "a &lt;square&gt; 0.80", "cross 0.30"]  # the largest first
    assert titles[0.5] == titles[0.8] == ["disk 0.90", "a &lt;square&gt; 0.80"]
    assert titles[0.85] == ["disk 0.90"] and titles[1] == []
    assert "my photo.png: 2 of 3 detections have a score of at least 0.50" in found.view(0.5)
    assert found.table(0.5) == [["disk", 0.9, 8, 8, 48, 48, 1804, ""], ["a <square>", 0.8, 24, 24, 16, 16, 256, 1]]


def test_the_picture_holds_what_the_threshold_lets_through(photo):
    found = app.Found(stub(), photo)
    plain, all_three = found.draw(1), found.draw(0.05)
    assert plain.shape == (8 * 64, 8 * 96, 3) and (plain == 60).all()  # enlarged for its labels, nothing in it
    assert (found.draw(0.5)[400, 256] == all_three[400, 256]).all() and (all_three[400, 256] != 60).any()
    assert (found.draw(0.5)[120, 640] == 60).all() and (all_three[120, 640] != 60).any()


def test_files_to_download(photo):
    picture, results = app.Found(stub(), photo).save(0.5)
    assert Image.open(picture).size == (768, 512)
    entries = json.loads(Path(results).read_text())
    assert [(e["image_id"], e["category_id"], e["bbox"]) for e in entries] == [
        ("my photo.png", 1, [8, 8, 48, 48]),
        ("my photo.png", 5, [24, 24, 16, 16]),
    ]
    assert entries[0]["score"] == pytest.approx(0.9)
    assert rle.area([e["segmentation"] for e in entries]).tolist() == [1804, 256]
    assert "keypoints" not in entries[0] and entries[1]["keypoints"][:3] == pytest.approx([26, 30, 0.9])


def test_a_broken_file_is_one_line_without_its_folder(broken):
    for path in broken:
        with pytest.raises(OSError, match=f"^The image file {path.name} cannot be read") as error:
            app.Found(stub(), path)
        assert "\n" not in str(error.value) and str(path.parent) not in str(error.value)


def test_a_large_image_is_shrunk_with_its_detections():
    rng = np.random.default_rng(0)
    mask = np.zeros((50, 81, 1), bool)
    mask[11:32, 20:61] = True
    result = {"rois": np.array([[11, 20, 32, 61]]), "masks": mask, "keypoints": np.array([[[25.0, 12.0, 1.0]]])}
    image, small = app.shrink(rng.integers(0, 255, (50, 81, 3)).astype("uint8"), result, side=30)
    assert image.shape == (17, 27, 3) and small["masks"].shape == (17, 27, 1)
    y1, x1, y2, x2 = small["rois"][0]
    assert small["masks"][y1:y2, x1:x2].all() and small["masks"].sum() == (y2 - y1) * (x2 - x1) == 7 * 14
    assert small["keypoints"][0, 0] == pytest.approx([8, 11 / 3, 1])
    assert app.shrink(image, small, side=30)[0] is image


def test_an_outline_is_that_of_the_mask_or_the_box():
    mask = np.zeros((9, 9), bool)
    mask[3:5, 2:6] = True
    numbers = np.array(re.findall(r"[\d.]+", app.outline((2, 1, 6, 7), mask)), float).reshape(-1, 2)
    assert numbers.min(0).tolist() == [2, 3] and numbers.max(0).tolist() == [6, 5]
    assert app.outline((2, 1, 6, 7)) == app.outline((2, 1, 6, 7), mask & False) == "M1 2 7 2 7 6 1 6Z"


def test_weights_are_listed_newest_run_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = """logs/shapes20260101T0000/mask_rcnn_shapes_0001.h5 logs/shapes20260101T0000/mask_rcnn_shapes_0002.h5
    logs/figures20270101T0000/mask_rcnn_figures_0001.h5 logs/figures20270101T0000/mask_rcnn_figures_best.h5
    logs/cells20250101T0000/config.json weights/my.h5 weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"""
    for name in names.split():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert app_models.find_weights("logs", "weights") == [
        "logs/figures20270101T0000/mask_rcnn_figures_best.h5",
        "logs/shapes20260101T0000/mask_rcnn_shapes_0002.h5",
        "weights/my.h5",
    ]
    assert app_models.find_weights("none", "of these") == []


def test_a_detector_from_a_file(tmp_path):
    path = tmp_path / "small.h5"
    config = SmallConfig()
    MaskRCNN("inference", config, tmp_path).save_weights(str(path))
    config.to_json(tmp_path / "config.json")
    detector = app_models.load_detector(path)
    assert detector.dataset.class_names == ["BG", "disk", "square", "triangle", "star", "cross"]
    assert detector.model.config.DETECTION_MIN_CONFIDENCE == 0.05

    config.update(MASK_CHANNELS=4).to_json(tmp_path / "config.json")
    with pytest.raises(
        ValueError, match="does not fit the settings of 'shapes'.*mrcnn_mask_conv1.*Put the config.json"
    ):
        app_models.load_detector(path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [name for name in file.attrs["layer_names"] if "class" not in str(name)]
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="is not of a Mask R-CNN: put the config.json of its run"):
        app_models.load_detector(path)


def test_any_detector_with_its_config(tmp_path):
    config = SmallConfig()
    config.update(**practice("retinanet", config.to_dict()), CLASS_NAMES=["BG", *"abcde"])
    build_detector("inference", config, tmp_path).save_weights(tmp_path / "small.h5")
    config.to_json(tmp_path / "config.json")
    detector = app_models.load_detector(tmp_path / "small.h5")
    assert detector.model.config.DETECTOR == "retinanet"
    assert detector.dataset.class_names == ["BG", *"abcde"]
    Image.fromarray(np.zeros((64, 64, 3), "uint8")).save(tmp_path / "black.png")
    found = app.Found(detector, tmp_path / "black.png")
    assert len(found.entries) == len(found.result["rois"])


def test_names_of_classes():
    def names(name, count, *given, known=()):
        return app_models.class_names(Config().update(NAME=name, NUM_CLASSES=count, CLASS_NAMES=known), *given)

    assert names("shapes", 6) == shapes.CATEGORIES
    assert names("shapes", 3) == names("mine", 3) == {1: "class 1", 2: "class 2"}
    assert names("mine", 3, {4: "a", 7: "b"}) == {4: "a", 7: "b"}
    assert names("pose", 2, {4: "a", 7: "b"}) == {1: "person"}
    assert names("mine", 3, known=["BG", "cat", "dog"]) == {1: "cat", 2: "dog"}


def test_cocos_category_ids():
    assert app_models.CLASSES["coco"][1] == "person" and app_models.CLASSES["coco"][90] == "toothbrush"
    assert app_models.CLASSES["coco"][13] == "stop sign" and 12 not in app_models.CLASSES["coco"]


def test_mistakes_are_one_line_and_exit_code_2(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert app.main([]) == 2
    message = capsys.readouterr().err
    assert message.startswith("app.py: error: The page needs Gradio: pip install gradio ") and message.count("\n") == 1
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace())
    for words, text in ((["--model", "no.h5"], "Weights file not found: no.h5"), (["--dataset", "no/set"], "no/set")):
        assert app.main(words) == 2
        message = capsys.readouterr().err
        assert message.startswith("app.py: error: ") and text in message and message.count("\n") == 1


def test_the_page_has_a_folder_of_its_own(monkeypatch):
    """`program.temporary_folder` says what becomes of it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    with app.folder_of_its_own() as folder:
        Path(folder, "photo.png").touch()
        assert os.environ["GRADIO_TEMP_DIR"] == folder
    assert not Path(folder).exists() and "GRADIO_TEMP_DIR" not in os.environ


def test_strangers_and_large_files_are_refused(monkeypatch):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    monkeypatch.setattr(app, "LARGEST_FILE", "10kb")
    page = app.build_page(lambda path: stub(), ["stub"], "stub")
    address = urllib.parse.urlsplit(app.launch(page)).netloc

    def ask(path="/", host=address, file=None):
        connection, data, headers = http.client.HTTPConnection(address), None, {"Host": host}
        if file is not None:
            form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%b\r\n--b--\r\n'
            data, headers["Content-Type"] = form % file, "multipart/form-data; boundary=b"
        connection.request("GET" if file is None else "POST", path, data, headers)
        return connection.getresponse().status

    try:
        hosts = [address, "localhost", "evil.example", "127.0.0.1.evil.example:7860"]
        assert [ask(host=host) for host in hosts] == [200, 200, 400, 400]
        assert [ask("/gradio_api/upload", file=bytes(size)) for size in (9000, 20000)] == [200, 413]
    finally:
        page.close()


# In a browser

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1280,1000""".split()


def start_browser(folder):
    """A headless Chromium with a new profile, which records its requests and saves downloads in `folder`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("Chromium or its chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


class Page:
    """The page in the browser, as a user handles it."""

    def __init__(self, browser):
        self.browser = browser

    def script(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def wait(self, condition, seconds=20):
        """Wait until the function gives something true, and return it."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)
        return value

    def text(self):
        return self.script("return document.body.innerText")

    def wait_for(self, text):
        self.wait(lambda: text in self.text())

    def upload(self, path):
        if self.browser.find_elements("css selector", "button[aria-label=Clear]"):  # the last file makes room
            self.browser.find_element("css selector", "button[aria-label=Clear]").click()
            self.wait(lambda: "detections have" not in self.text() and "cannot be read" not in self.text())
        self.browser.find_element("css selector", "input[type=file]").send_keys(str(path))

    def download(self, label):
        buttons = self.browser.find_elements("tag name", "button")
        (button,) = [button for button in buttons if button.text == label]
        self.wait(button.is_enabled)
        button.click()

    def enter(self, label, value):
        field = self.browser.find_element("css selector", f"input[aria-label='{label}']")
        field.send_keys("\ue009a\ue000", str(value), "\ue007")  # Ctrl-A, the value, Enter

    def titles(self):
        return self.script("return [...document.querySelectorAll('.found title')].map(t => t.textContent)")

    def hover(self, x, y):
        """The title of what lies at (x, y), shares of the picture's sides."""
        return self.script(
            """const box = document.querySelector('.found').getBoundingClientRect();
            const [x, y] = [box.x + arguments[0] * box.width, box.y + arguments[1] * box.height];
            return document.elementFromPoint(x, y).textContent""",
            *(x, y),
        )

    def hosts(self):
        """Hosts of all requests since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {re.sub("^(https?://[^:/]+).*", r"\1", url) for url in urls if url.startswith("http")}


@pytest.fixture(scope="module")
def page(folder):
    pytest.importorskip("gradio", reason="Gradio is not installed")

    def load(path):
        if path != "stub":
            raise FileNotFoundError(f"Weights file not found: {path}")
        return stub()

    blocks = app.build_page(load, ["stub", "other"], "stub")
    browser = start_browser(folder)
    try:
        browser.get(app.launch(blocks))
        page = Page(browser)
        page.wait(lambda: page.script("return document.querySelector('input[type=file]')"))
        yield page
    finally:
        browser.quit()
        blocks.close()


def test_upload_threshold_and_bad_file(page, folder, photo, broken):
    page.upload(photo)
    page.wait_for("my photo.png: 2 of 3 detections have a score of at least 0.70")
    assert page.titles() == ["disk 0.90", "a <square> 0.80"]
    assert page.hover(0.5, 0.5) == page.hover(12 / 96, 0.5) == "disk 0.90"
    assert page.hover(32 / 96, 0.5) == "a <square> 0.80"  # it lies within the disk
    assert page.hover(10 / 96, 10 / 64) == ""  # in the disk's box but not in its mask
    page.wait_for("1804")  # the table

    page.enter("number input for Lowest score", 0.25)
    page.wait(lambda: len(page.titles()) == 3)
    assert page.hover(80 / 96, 15 / 64) == "cross 0.30"
    page.enter("number input for Lowest score", 0.85)
    page.wait(lambda: page.titles() == ["disk 0.90"])
    for button, file in (("COCO results", "my photo 0.85.json"), ("Picture", "my photo 0.85.png")):
        page.download(button)
        page.wait((folder / file).exists)
    assert len(json.loads((folder / "my photo 0.85.json").read_text())) == 1

    for path in broken:
        page.upload(path)
        page.wait_for(f"The image file {path.name} cannot be read")
        assert page.titles() == [] and "1804" not in page.text() and "Traceback" not in page.text()
    page.upload(photo)
    page.wait(lambda: page.titles() == ["disk 0.90"])
    page.enter("Weights", "nowhere.h5")
    page.wait_for("Weights file not found: nowhere.h5")
    page.enter("Weights", "stub")
    page.wait(lambda: page.titles() == ["disk 0.90"])
    assert page.hosts() == {"http://127.0.0.1"}
