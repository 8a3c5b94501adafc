"""Pictures of a detector's parts, and of where RoIs read a map."""

import numpy as np
import pytest
from scenes import no_state, rectangles  # noqa: F401  (no_state is used by every test)

from mrcnn.draw import stages


def test_draw_diagram():
    parts = {"a": (0, 0, "image"), "b": (2, 1, "boxes\n3 x 4")}
    ax = stages.draw_diagram(parts, [("a", "b")], {"b": "red"}).axes[0]
    boxes = {text.get_text(): text for text in ax.texts if text.get_text()}
    assert boxes["image"].get_position() == (0, 0) and boxes["boxes\n3 x 4"].get_position() == (2, 1)
    assert boxes["boxes\n3 x 4"].get_bbox_patch().get_facecolor() == (1, 0, 0, 1)
    assert ax.yaxis_inverted() and len([text for text in ax.texts if getattr(text, "arrow_patch", None)]) == 1
    with pytest.raises(KeyError):
        stages.draw_diagram(parts, [("a", "c")])


def test_draw_sampling_of_roi_align_has_its_points_and_the_box():
    values, box = np.arange(99.0).reshape(9, 11), (0.25, 0.1, 0.75, 0.5)
    ax = stages.draw_sampling(values, box, (3, 2), "corners").axes[0]
    x, y = ax.lines[0].get_data()
    assert np.unique(y.round(4)).tolist() == [2, 4, 6] and np.unique(x.round(4)).tolist() == [1, 5]
    assert np.allclose(rectangles(ax)[0].get_bbox().extents, (1, 2, 5, 6))
    aligned = stages.draw_sampling(values, box, (3, 2), "aligned").axes[0]
    assert len(aligned.lines[0].get_xdata()) == 3 * 2 * 4
    assert np.allclose(rectangles(aligned)[0].get_bbox().extents, (0.6, 1.75, 5, 6.25))


def test_draw_sampling_of_roi_pooling_has_blocks_of_whole_cells():
    # Rows 2 to 6 of 8, columns 1 to 5 of 10; three parts of five cells share their outer rows.
    ax = stages.draw_sampling(np.zeros((8, 10)), (0.25, 0.1, 0.75, 0.5), (3, 1), "pool").axes[0]
    *blocks, box = rectangles(ax)
    outer = [np.rint(np.array(block.get_bbox().extents) * 2) / 2 for block in blocks]
    assert [edges.tolist() for edges in outer] == [[0.5, 1.5, 5.5, 3.5], [0.5, 2.5, 5.5, 5.5], [0.5, 4.5, 5.5, 6.5]]
    assert np.allclose(box.get_bbox().extents, (1, 2, 5, 6))
