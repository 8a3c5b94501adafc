# A set of boxes as PascalVOC's XML has them, staged training with callbacks and augmentation, then a look inside.
import os
import sys
import warnings
from xml.etree import ElementTree

import keras
import matplotlib

matplotlib.use("Agg")
import numpy as np
import skimage.io
from numpy import asarray, expand_dims, mean, zeros

from mrcnn.config import Config
from mrcnn.model import MaskRCNN, load_image_gt, mold_image
from mrcnn.utils import Dataset, compute_ap, extract_bboxes
from mrcnn.visualize import display_instances

import imgaug  # isort: skip

FOLDER = sys.argv[1]


def write_set(folder):
    os.makedirs(folder + "/images")
    os.makedirs(folder + "/annots")
    rng = np.random.RandomState(0)
    for i in range(1, 7):
        image = rng.randint(0, 80, (100, 140, 3)).astype(np.uint8)
        boxes = ""
        for _ in range(2):
            x, y, w, h = rng.randint(0, 90), rng.randint(0, 60), rng.randint(20, 50), rng.randint(20, 40)
            image[y : y + h, x : x + w] = (200, 120, 40)
            boxes += "<object><name>kangaroo</name><bndbox><xmin>%d</xmin><ymin>%d</ymin>" % (x, y)
            boxes += "<xmax>%d</xmax><ymax>%d</ymax></bndbox></object>" % (min(x + w, 140), min(y + h, 100))
        skimage.io.imsave(folder + "/images/%05d.png" % i, image, check_contrast=False)
        size = "<size><width>140</width><height>100</height></size>"
        with open(folder + "/annots/%05d.xml" % i, "w") as f:
            f.write("<annotation>%s%s</annotation>" % (size, boxes))


class KangarooDataset(Dataset):
    def load_dataset(self, dataset_dir, is_train=True):
        self.add_class("dataset", 1, "kangaroo")
        for filename in sorted(os.listdir(dataset_dir + "/images/")):
            image_id = filename[:-4]
            if is_train and int(image_id) >= 5:
                continue
            if not is_train and int(image_id) < 5:
                continue
            self.add_image(
                "dataset",
                image_id=image_id,
                path=dataset_dir + "/images/" + filename,
                annotation=dataset_dir + "/annots/" + image_id + ".xml",
            )

    def extract_boxes(self, filename):
        root = ElementTree.parse(filename).getroot()
        boxes = []
        for box in root.findall(".//bndbox"):
            boxes.append([int(box.find(name).text) for name in ("xmin", "ymin", "xmax", "ymax")])
        return boxes, int(root.find(".//size/width").text), int(root.find(".//size/height").text)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        boxes, w, h = self.extract_boxes(info["annotation"])
        masks = zeros([h, w, len(boxes)], dtype="uint8")
        class_ids = []
        for i in range(len(boxes)):
            box = boxes[i]
            masks[box[1] : box[3], box[0] : box[2], i] = 1
            class_ids.append(self.class_names.index("kangaroo"))
        return masks, asarray(class_ids, dtype="int32")

    def image_reference(self, image_id):
        return self.image_info[image_id]["path"]


class KangarooConfig(Config):
    NAME = "kangaroo_cfg"
    NUM_CLASSES = 1 + 1
    BACKBONE = "resnet50"
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    IMAGES_PER_GPU = 1
    TRAIN_ROIS_PER_IMAGE = 16
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1


write_set(FOLDER + "/kangaroo")
train_set = KangarooDataset()
train_set.load_dataset(FOLDER + "/kangaroo", is_train=True)
train_set.prepare()
print("Train: %d" % len(train_set.image_ids))
test_set = KangarooDataset()
test_set.load_dataset(FOLDER + "/kangaroo", is_train=False)
test_set.prepare()
mask, class_ids = train_set.load_mask(0)
bbox = extract_bboxes(mask)
display_instances(train_set.load_image(0), bbox, mask, class_ids, train_set.class_names)

config = KangarooConfig()
model = MaskRCNN(mode="training", model_dir=FOLDER, config=config)


class Seen(keras.callbacks.Callback):
    epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, sorted(logs)[:2]))


augmentation = imgaug.augmenters.Sometimes(
    0.5, [imgaug.augmenters.Fliplr(0.5), imgaug.augmenters.GaussianBlur(sigma=(0.0, 5.0))]
)
for epochs, layers in ((1, "heads"), (2, "4+"), (3, "all")):
    model.train(
        train_set,
        test_set,
        learning_rate=config.LEARNING_RATE,
        epochs=epochs,
        layers=layers,
        augmentation=augmentation,
        custom_callbacks=[Seen()],
        no_augmentation_sources=["other"],
    )
print("epochs seen:", [epoch for epoch, _ in Seen.epochs])


class PredictionConfig(KangarooConfig):
    NAME = "kangaroo_cfg"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0.0


cfg = PredictionConfig()
model = MaskRCNN(mode="inference", model_dir=FOLDER, config=cfg)
model.load_weights(model.find_last(), by_name=True)


def evaluate_model(dataset, model, cfg):
    APs = list()
    for image_id in dataset.image_ids:
        image, image_meta, gt_class_id, gt_bbox, gt_mask = load_image_gt(dataset, cfg, image_id, use_mini_mask=False)
        scaled_image = mold_image(image, cfg)
        sample = expand_dims(scaled_image, 0)
        yhat = model.detect(sample, verbose=0)
        r = yhat[0]
        AP, _, _, _ = compute_ap(gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"])
        APs.append(AP)
    return mean(APs)


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print("Test mAP: %.3f" % evaluate_model(test_set, model, cfg))
print("warned:", [str(w.message) for w in caught if "mold_image" in str(w.message)][:1])

image = train_set.load_image(0)
nodes = model.run_graph(
    [image],
    [
        ("rpn_class", model.keras_model.get_layer("rpn_class").output),
        ("proposals", model.keras_model.get_layer("ROI").output),
        ("res2c_out", model.keras_model.get_layer("res2c_out").output),
        ("roi_align_mask", model.ancestor(model.keras_model.get_layer("mrcnn_mask").output, "roi_align_mask")),
    ],
)
print("nodes:", {name: value.shape for name, value in nodes.items()})
