"""What the programs show: detections drawn into images, several of them in one picture, and into videos."""

import math
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import found
import many
import numpy as np
from PIL import Image

from mrcnn import visualize
from mrcnn.cli import program
from mrcnn.cli.arguments import check_output
from mrcnn.data.formats import FILES
from mrcnn.data.reading import IMAGE_ENDINGS, WRITTEN_ENDINGS, image_files, read_image, write_image
from mrcnn.data.windows import windows
from mrcnn.draw import video
from mrcnn.draw.large import draw_large
from mrcnn.draw.semantic import draw_semantic
from mrcnn.models import tracking
from mrcnn.ops import boxes
from mrcnn.ops.refine import refine

# Score from which what is followed in a video is shown for itself.
SURE = 0.5

# A picture of several images shows so many at most, in so many pixels together.
MOST_SHOWN, MOST_PIXELS = 100, 2**26


def check_detect(args):
    """Look at what is to be read and written before the work begins.

    Raises:
        ValueError, OSError: as `image_paths`, `video.check` and `check_output`.
    """
    if many.wanted(args):
        return many.check(args)
    if args.image:
        image_paths(args)
    if args.video:
        video.check(args.video)
    if args.track:
        tracking.check()
    inputs = args.image, args.video, args.output and args.dataset
    pictures = [".mp4"] if args.video else WRITTEN_ENDINGS
    if found.is_data(output_of(args)) and not (args.video and not output_of(args).suffix):
        return found.check(output_of(args), inputs)
    check_output(output_of(args), [*pictures, *FILES], inputs)


def output_of(args):
    """The file to write."""
    return Path(args.output or ("detections.mp4" if args.video else "detections.png"))


def detect_video(args, model, class_names):
    """Detect in every frame of a video and write it with what was found, or that as data; with --track, the same object
    has the same number in all of them."""
    output, threshold = output_of(args), model.config.DETECTION_MIN_CONFIDENCE
    threshold = max(SURE, threshold) if args.track else threshold
    track = tracking.Tracker(video.check(args.video), threshold) if args.track else dict

    def drawn(frame):
        return draw_found(frame, track(find(args, model, frame)), model.config, class_names, threshold)

    if found.is_data(output):
        data = found.Found(class_names)
        try:
            for number, frame in enumerate(video.frames(args.video)):
                data.add(args.video, number, frame, track(find(args, model, frame)))
        finally:
            data.write(args)
        return
    count, rate = video.convert(args.video, output, drawn)
    print(f"{count} frames, {rate:.2f} a second")
    print(f"Wrote {output.resolve()}")


def image_paths(args):
    """The files of --image, which may be a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(args.image)
    if not path.exists():
        raise FileNotFoundError(f"There is no image or folder {path}.")
    if path.suffix == ".txt":
        raise ValueError(f"{path} is a list of images: name a .json to write with --output.")
    paths = image_files(path)[: args.limit] if path.is_dir() else [path]
    if not paths:
        raise FileNotFoundError(f"There are no images in {path}; known are {', '.join(IMAGE_ENDINGS)}.")
    return paths


def to_read(args, dataset, channels):
    """{name: (function that reads it, path, page)} of the images to detect in; with --tiles their `Windows`."""
    if args.image:
        read = windows if args.tiles else read_image
        return {path.name: (partial(read, path, channels), path, None) for path in image_paths(args)}
    infos = dataset.image_info
    return {
        str(i): (partial(dataset.load_image, i), infos[i]["path"], infos[i].get("page"))
        for i in dataset.image_ids[: args.limit or 12]
    }


def detect(args, model, dataset, class_names):
    """Detect in an image, a folder or validation images; write one picture of them all, of the first `MOST_SHOWN`, or
    what was found as data. Returns the exit code.

    Raises:
        ValueError, OSError: no image can be read.
    """
    if many.wanted(args):
        return many.detect(args, model, dataset)
    if args.video:
        return detect_video(args, model, class_names)
    output = output_of(args)
    pictures, read_well, images = [], 0, to_read(args, dataset, model.config.IMAGE_CHANNEL_COUNT)
    data = found.Found(class_names) if found.is_data(output) else None
    for name, (read, path, page) in images.items():
        try:
            image = read()
            result = find(args, model, image)  # reads the windows of large ones
        except (ValueError, OSError) as error:
            if len(images) == 1:
                raise
            print(f"{name}: {program.one_line(error)}", file=sys.stderr)
            continue
        print(f"{name}: {words(args, result, class_names) or 'nothing found'}")
        read_well += 1
        if data:
            data.add(path, page, image, result)
        elif len(pictures) < MOST_SHOWN:
            pictures.append(shrink(draw(args, image, result, model.config, class_names), len(images)))
    if not read_well:
        raise OSError(f"None of the {len(images)} images can be read.")
    if data:
        data.write(args)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_image(output, contact_sheet(pictures))
        some = f", the first {MOST_SHOWN} of {read_well} images" * (len(pictures) < read_well)
        print(f"Wrote {output.resolve()}{some}")
    return 0 if read_well == len(images) else program.FAILED


def words(args, result, class_names):
    """What was found: each object's class and score, of many objects in tiles how many there are."""
    names = [class_names[i] for i in result["class_ids"]]
    if args.tiles:
        return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())
    return ", ".join(f"{name} {score:.2f}" for name, score in zip(names, result["scores"], strict=True))


def draw(args, image, result, config, class_names):
    """The picture of an image with what was found in it."""
    if args.tiles:
        return draw_large(image, result, class_names, threshold=config.DETECTION_MIN_CONFIDENCE)
    return draw_found(*enlarge(image, result), config, class_names)


def find(args, model, image):
    """What the model detects in an image, or in the windows of one; with --refine, masks of COCO's large objects with
    sharper edges."""
    if args.tiles:
        return model.detect_tiled(image, args.tiles, verbose=1)
    (result,) = model.detect([image])
    if args.refine and "masks" in result:
        for i, (y1, x1, y2, x2) in enumerate(boxes.cover(result["rois"])):
            if (y2 - y1) * (x2 - x1) >= 96**2:
                mask = result["masks"][y1:y2, x1:x2, i]
                result["masks"][..., i] = refine(image, mask, (y1, x1, y2, x2))
    return result


def draw_found(image, result, config, class_names, threshold=None):
    """The image with what was found in it; of a network that gives pixels classes, with these, if no object has a
    number. Lines get thicker with scores above the threshold, by default that of the config."""
    if "semantic" in result and "track_ids" not in result:
        return draw_semantic(image, result["semantic"], class_names)
    return visualize.draw_instances(
        image,
        result,
        class_names,
        threshold=config.DETECTION_MIN_CONFIDENCE if threshold is None else threshold,
        skeleton=config.KEYPOINT_SKELETON,
    )


def enlarge(image, result, side=384):
    """A small image and its detections a whole number of times larger, so that labels do not cover the objects."""
    factor = max(1, side // max(image.shape[:2]))
    if factor == 1:
        return image, result
    image = image.repeat(factor, axis=0).repeat(factor, axis=1)
    result = {**result, "rois": result["rois"] * factor}
    if "masks" in result:
        result["masks"] = result["masks"].repeat(factor, axis=0).repeat(factor, axis=1)
    if "semantic" in result:
        result["semantic"] = result["semantic"].repeat(factor, axis=0).repeat(factor, axis=1)
    if "keypoints" in result:  # the centre of pixel 0 is at 0
        result["keypoints"] = (result["keypoints"] + (0.5, 0.5, 0)) * (factor, factor, 1) - (0.5, 0.5, 0)
    return image, result


def shrink(picture, count):
    """A picture [h, w, 3] as large as it may be among `count`; one alone as it is."""
    side = math.isqrt(MOST_PIXELS // min(count, MOST_SHOWN))
    if count == 1 or max(picture.shape) <= side:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.asarray(image)


def contact_sheet(pictures):
    """Pictures [h, w, 3] beside and below each other in one, on white: four in a row, or as many rows as columns."""
    columns = min(max(4, math.ceil(math.sqrt(len(pictures)))), len(pictures))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    sheet = np.full((height * len(rows), width * columns, 3), 255, "uint8")
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            h, w = picture.shape[:2]
            sheet[r * height : r * height + h, c * width : c * width + w] = picture
    return sheet
