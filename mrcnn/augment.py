"""Augmentation of an image together with its masks."""

import numpy as np

# imgaug 0.4.0 reads np.sctypes at import, which NumPy 2 removed; imgaug has had no release since. Set here, and so by
# `import mrcnn.model`, it also serves old code that imports imgaug by itself after that.
if not hasattr(np, "sctypes"):
    np.sctypes = {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
        "complex": [np.complex64, np.complex128],
        "others": [bool, object, bytes, str, np.void],
    }


def augment(image, mask, augmentation, rng=None):
    """Apply an imgaug augmenter to an image and, its geometry alone, to the masks.

    Args:
        image: uint8 [H, W, C].
        mask: bool [H, W, n].
        augmentation: an `imgaug.augmenters` object.
        rng: `numpy.random.Generator`; default is imgaug's own state.

    Returns:
        image and mask of the same shapes and dtypes.

    Raises:
        ValueError: the augmenter changed the size of the image.
    """
    imgaug = import_imgaug()
    fixed = augmentation.to_deterministic()
    if rng is not None:
        fixed.seed_(int(rng.random() * 2**31), deterministic_too=True)
    # Segmentation maps move with geometry and are left alone by everything else, whatever the augmenter.
    new_image = fixed.augment_image(image)
    new_mask = mask
    if mask.shape[-1]:
        maps = imgaug.augmentables.segmaps.SegmentationMapsOnImage(mask.astype(np.int32), shape=image.shape)
        new_mask = fixed.augment_segmentation_maps(maps).get_arr().astype(bool)
    if new_image.shape != image.shape or new_mask.shape != mask.shape:
        raise ValueError(
            f"The augmentation changed the image from {image.shape} to {new_image.shape}; give it keep_size=True."
        )
    return new_image, new_mask


def import_imgaug():
    """The imgaug module.

    Raises:
        ImportError: imgaug or what it needs is missing; one sentence says what to install.
    """
    try:
        import imgaug
        import imgaug.augmenters
    except ImportError as error:
        raise ImportError(
            f"augmentation= needs imgaug, which did not import ({error}): pip install imgaug, and if libGL is missing, "
            "pip install opencv-python-headless or apt-get install libgl1."
        ) from error
    return imgaug
