"""What the notebooks that teach have in common: a scene larger than the generated images, and sliders."""

import numpy as np
from trained import shapes

from mrcnn.data.dataset import Dataset


class SceneDataset(Dataset):
    """Scenes like the generated images, with as many objects as fill a larger canvas.

    Objects are of the sizes that a network knows that was trained on the generated images, from 1/8 to 2/3 of their
    sides, and so small and large ones lie beside each other. There is no noise, so that pictures take little room.

    Args:
        count: of scenes.
        size: their sides in pixels.
        objects: in each, or fewer where there is no room.
        seed: of all randomness.
    """

    def __init__(self, count=1, size=512, objects=12, seed=0):
        super().__init__()
        for category, name in shapes.CATEGORIES.items():
            self.add_class("shapes", category, name)
        diameters = 0.13 * shapes.SIZE / size, 0.66 * shapes.SIZE / size
        for i in range(count):
            rng = np.random.default_rng([seed, i])
            image, things = shapes.scene(rng, size, objects, diameters, noise=0)
            self.add_image("shapes", i, path=None, image=image, things=things)
        self.prepare()

    def load_image(self, image_id):
        return self.image_info[image_id]["image"]

    def load_mask(self, image_id):
        things = self.image_info[image_id]["things"]
        ids = [self.map_source_class_id(f"shapes.{thing['category']}") for thing in things]
        return np.stack([thing["visible"] > 0.5 for thing in things], axis=-1), np.array(ids, "int32")


def slider(draw, figsize, **ranges):
    """A slider for each of `ranges`; with every move `draw(ax, **values)` draws a new picture. Needs ipywidgets.

    Args:
        draw: gets axes of a figure of `figsize` inches, and a value by name for each of `ranges`.
        ranges: (lowest, highest, step), and as a fourth number where the slider begins. If all are ints, so are values.
    """
    try:
        from ipywidgets import FloatSlider, IntSlider, interact
    except ImportError:
        print(f"Here is a slider for {' and '.join(ranges)} where ipywidgets is installed: pip install ipywidgets")
        return
    import matplotlib.pyplot as plt

    def show(**values):
        _, ax = plt.subplots(figsize=figsize)
        draw(ax, **values)
        plt.show()

    sliders = {}
    for key, spans in ranges.items():
        kind = IntSlider if all(isinstance(number, int) for number in spans) else FloatSlider
        sliders[key] = kind(**dict(zip(("min", "max", "step", "value"), spans, strict=False)))
    interact(show, **sliders)
