"""XML that is not PASCAL VOC's: MIT's LabelMe, which is read, and CVAT's own, which is known."""

import numpy as np
import pytest
from foreign_folders import SQUARE, H, W, objects, picture, problems, text
from PIL import Image as Picture

from mrcnn.data.formats import find, read


def labelme_xml(path, *entries, name="a.png"):
    objects = "".join(f"<object><name>\ncell\n</name>{entry}</object>" for entry in entries)
    size = f"<imagesize><nrows>{H}</nrows><ncols>{W}</ncols></imagesize>"
    return text(path, f"<annotation><filename>{name}</filename><folder>x</folder>{objects}{size}</annotation>")


@pytest.mark.parametrize("mit", [True, False])
def test_mits_labelme_has_polygons_boxes_and_masks(tmp_path, mit):
    """With folders of its own as MIT has them, or all in one as CVAT writes them."""
    ring = "".join(f"<pt>\n<x>\n{x}\n</x>\n<y>{y}.0</y></pt>" for x, y in SQUARE)
    path = labelme_xml(
        tmp_path / ("Annotations/x/a.xml" if mit else "a.xml"),
        f"<deleted>0</deleted><occluded>yes</occluded><attributes>wild, legs=4</attributes><polygon>{ring}</polygon>",
        f"<deleted>1</deleted><polygon>{ring}</polygon>",
        f"<type>bounding_box</type><attributes/><polygon><username>me</username>{ring}</polygon>",
        "<segm><username/><box><xmin>2</xmin></box><mask>a_mask_0.png</mask></segm>",
        "<segm><mask>../../../b.png</mask></segm>",
        f"<polygon><pt><x>left</x><y>3</y></pt>{ring}</polygon>",
        "<polygon/>",
    )
    picture(tmp_path / ("Images/x/a.png" if mit else "a.png"))
    mask = np.zeros((H, W), "uint8")
    mask[3:13, 4:14] = 255
    home = tmp_path / ("Masks/x" if mit else "Masks")
    home.mkdir(parents=True)
    Picture.fromarray(mask).save(home / "a_mask_0.png")
    files = read(tmp_path)
    assert find(tmp_path) == "voc"
    assert objects(files) == [("cell", [4, 3, 10, 10], area, False) for area in (100, 0, 100)]
    assert files[""].objects[1][0].attributes == {"occluded": True, "wild": True, "legs": 4}
    assert files[""].objects[1][0].segmentation[0].tolist() == np.ravel(SQUARE).tolist()
    (first, second, *rest) = problems(files)
    assert first[:2] == ("region that cannot be used", "a.xml") and "object 5: ../../../b.png leads out of" in first[2]
    assert second == ("region that cannot be used", "a.xml", "object 6: its x is 'left', no number")
    assert [what for what, *_ in rest] == [
        "bbox that cannot be read",
        "annotation that cannot be used",
        "object without a mask",
    ]
    path.write_text(path.read_text("utf-8").replace(f"<nrows>{H}", "<nrows>99"), "utf-8")
    with pytest.raises(ValueError, match="image of another size than annotated"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["set", "set/annotations.xml"])
def test_cvats_own_xml_is_known_and_says_what_to_export(tmp_path, name):
    shapes = (
        '<box label="dog" xtl="4" ytl="3" xbr="14" ybr="13"/><skeleton label="dog"><points points="1,2"/></skeleton>'
    )
    image = f'<image id="0" name="a.png" width="{W}" height="{H}">{shapes}</image>'
    text(tmp_path / "set" / "annotations.xml", f"<annotations><version>1.1</version><meta/>{image}</annotations>")
    picture(tmp_path / "set" / "images" / "a.png")
    words = r"holds <annotations>, not an <annotation>. It is CVAT's own format, .* as COCO 1\.0, .*Keypoints 1\.0\.$"
    with pytest.raises(ValueError, match=words) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_set_is_not_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="a.txt is a file, which can be in the format coco alone; name the folder"):
        read(text(tmp_path / "a.txt", ""))
