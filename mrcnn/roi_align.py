"""RoIAlign over the pyramid: a fixed grid of bilinear samples from the level that suits each box."""

import keras
from keras import layers, ops

from mrcnn import images

# How far outside the map, in cells, a sample may lie and still count as on its edge. Samples of a box that ends at the
# image's edge lie exactly there; without this, rounding, which every backend does in its own way, would drop some.
EDGE = 1e-3


def crop_and_resize(flat_maps, offsets, heights, widths, boxes, shape):
    """Bilinear samples on a grid over each box, corner-aligned: the first and last samples lie on the box's edges.

    The rule of TensorFlow's op of this name, for many maps of different sizes at once: maps lie flattened behind each
    other, and each box says where its own map begins. Samples outside the map are 0.

    Args:
        flat_maps: [B, L, C], all cells of all maps of an image, row by row.
        offsets: [B, N] int32, first cell of the map that belongs to a box.
        heights, widths: [B, N] int32, that map's size.
        boxes: [B, N, 4] normalised to that map.
        shape: (rows, columns) of the grid, at least 2 each.

    Returns:
        [B, N, rows, columns, C], of the maps' dtype; the weights are float32 whatever that is.
    """
    batch, length, channels = ops.shape(flat_maps)
    rows, columns = shape
    y, top, bottom, inside_y = _grid(boxes[..., 0], boxes[..., 2], heights, rows)
    x, left, right, inside_x = _grid(boxes[..., 1], boxes[..., 3], widths, columns)
    inside = ops.cast(ops.logical_and(inside_y[..., :, None], inside_x[..., None, :]), "float32")
    weight_y = (y - ops.cast(top, "float32"))[..., :, None]
    weight_x = (x - ops.cast(left, "float32"))[..., None, :]
    first = offsets + length * ops.arange(batch, dtype="int32")[:, None]
    cells = ops.reshape(flat_maps, (-1, channels))

    def corner(row, column, weight):
        index = first[..., None, None] + row[..., :, None] * widths[..., None, None] + column[..., None, :]
        return ops.cast(ops.take(cells, index, axis=0), "float32") * (weight * inside)[..., None]

    sampled = (
        corner(top, left, (1 - weight_y) * (1 - weight_x))
        + corner(top, right, (1 - weight_y) * weight_x)
        + corner(bottom, left, weight_y * (1 - weight_x))
        + corner(bottom, right, weight_y * weight_x)
    )
    return ops.cast(sampled, flat_maps.dtype)


def _grid(start, end, sizes, count):
    """Sample positions [B, N, count] along one axis, the two cells around each, and whether they are on the map."""
    last = ops.cast(sizes - 1, "float32")[..., None]
    start, end = ops.cast(start, "float32")[..., None], ops.cast(end, "float32")[..., None]
    step = (end - start) * last / (count - 1)
    position = start * last + ops.arange(count, dtype="float32") * step
    inside = ops.logical_and(position >= -EDGE, position <= last + EDGE)
    position = ops.clip(position, 0, last)
    lower = ops.floor(position)
    upper = ops.minimum(lower + 1, last)
    return position, ops.cast(lower, "int32"), ops.cast(upper, "int32"), inside


def pyramid_level(boxes, image_area):
    """Level 2..5 of each box (equation 1 of the FPN paper): a box of 224 x 224 pixels belongs to P4.

    Args:
        boxes: [..., 4] normalised.
        image_area: area of the image in pixels, scalar or broadcastable to [...].

    Returns:
        [...] int32.
    """
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    side = ops.sqrt(ops.maximum(area, 0)) * ops.sqrt(image_area) / 224.0
    level = 4 + ops.cast(ops.round(ops.log2(ops.maximum(side, 1e-8))), "int32")
    return ops.clip(level, 2, 5)


@keras.saving.register_keras_serializable("mrcnn")
class PyramidROIAlign(layers.Layer):
    """RoIAlign on all levels of the pyramid at once.

    Args:
        pool_shape: (rows, columns) of cells per box.

    Inputs: [boxes [B, N, 4] normalised, image_meta [B, 12 + K], P2, P3, P4, P5].
    Output: [B, N, rows, columns, channels]; no gradient flows into the boxes.
    """

    def __init__(self, pool_shape, **kwargs):
        # Boxes and image sizes need float32 in a network of lower precision too.
        super().__init__(autocast=False, **kwargs)
        self.pool_shape = tuple(pool_shape)

    def call(self, inputs):
        boxes, image_meta, *maps = inputs
        boxes = ops.stop_gradient(boxes)
        image_shape = ops.cast(images.parse_image_meta(image_meta)["image_shape"], "float32")
        level = pyramid_level(boxes, image_shape[:, 0:1] * image_shape[:, 1:2]) - 2
        sizes = [ops.shape(x)[1:3] for x in maps]
        starts = [0]
        for height, width in sizes[:-1]:
            starts.append(starts[-1] + height * width)
        offsets, heights, widths = (
            ops.take(ops.cast(ops.stack(values), "int32"), level, axis=0)
            for values in (starts, [h for h, _ in sizes], [w for _, w in sizes])
        )
        flat = ops.concatenate([ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1])) for x in maps], axis=1)
        return crop_and_resize(flat, offsets, heights, widths, boxes, self.pool_shape)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self):
        return {**super().get_config(), "pool_shape": self.pool_shape}
