"""What the notebooks that teach have in common: sliders."""


def slider(draw, figsize, **ranges):
    """A slider for each of `ranges`; with every move `draw(ax, **values)` draws a new picture. Needs ipywidgets.

    Args:
        draw: gets axes of a figure of `figsize` inches, and a value by name for each of `ranges`.
        ranges: (lowest, highest, step), and as a fourth number where the slider begins.
    """
    try:
        from ipywidgets import FloatSlider, interact
    except ImportError:
        print(f"Here is a slider for {' and '.join(ranges)} where ipywidgets is installed: pip install ipywidgets")
        return
    import matplotlib.pyplot as plt

    def show(**values):
        _, ax = plt.subplots(figsize=figsize)
        draw(ax, **values)
        plt.show()

    names = ("min", "max", "step", "value")
    interact(show, **{key: FloatSlider(**dict(zip(names, spans, strict=False))) for key, spans in ranges.items()})
