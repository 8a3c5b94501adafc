"""State dicts of torchvision's one-stage detectors with few channels."""

from foreign import State, torchvision_state

HEADS = {"class": "head.classification_head", "bbox": "head.regression_head"}


def pyramid_state(kind, classes=3, old=False):
    """Of "retinanet", "retinanet_v2" or "fcos"; RetinaNet's keys as today, or as in the published file."""
    body = {key: x for key, x in torchvision_state(old=old).items() if key.startswith("backbone.body")}
    state = State()
    state.update(body)
    between = "" if old else ".0"
    for i in range(3):
        state.add(f"backbone.fpn.inner_blocks.{i}{between}", 4, 3, 1, 1)
        state.add(f"backbone.fpn.layer_blocks.{i}{between}", 4, 4, 3, 3)
    state.add("backbone.fpn.extra_blocks.p6", 4, 3 if kind == "retinanet_v2" else 4, 3, 3)
    state.add("backbone.fpn.extra_blocks.p7", 4, 4, 3, 3)
    for head in HEADS.values():
        for i in range(4):
            conv, norm = {
                "retinanet": (f"{2 * i}" if old else f"{i}.0", None),
                "retinanet_v2": (f"{i}.0", f"{i}.1"),
                "fcos": (f"{3 * i}", f"{3 * i + 1}"),
            }[kind]
            state.add(f"{head}.conv.{conv}", 4, 4, 3, 3, bias=kind != "retinanet_v2")
            if norm:
                state[f"{head}.conv.{norm}.weight"], state[f"{head}.conv.{norm}.bias"] = state.rng.normal(size=(2, 4))
    anchors = 1 if kind == "fcos" else 9
    state.add("head.classification_head.cls_logits", anchors * classes, 4, 3, 3)
    state.add("head.regression_head.bbox_reg", anchors * 4, 4, 3, 3)
    if kind == "fcos":
        state.add("head.regression_head.bbox_ctrness", 1, 4, 3, 3)
    return state


def ssd_state(classes=3):
    state = State()
    state["backbone.scale_weight"] = state.rng.normal(size=2).astype("float32")
    for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21):
        state.add(f"backbone.features.{i}", 2, 2, 3, 3)
    for key in ("0.1", "0.3", "0.5", "0.7.1"):
        state.add(f"backbone.extra.{key}", 2, 2, 3, 3)
    state.add("backbone.extra.0.7.3", 2, 2, 1, 1)
    for i in range(1, 5):
        state.add(f"backbone.extra.{i}.0", 2, 2, 1, 1)
        state.add(f"backbone.extra.{i}.2", 2, 2, 3, 3)
    for i, anchors in enumerate((4, 6, 6, 6, 4, 4)):
        state.add(f"head.classification_head.module_list.{i}", anchors * classes, 2, 3, 3)
        state.add(f"head.regression_head.module_list.{i}", anchors * 4, 2, 3, 3)
    return state


def dense_state(kind, classes=3):
    """A state dict of torchvision's model of this kind."""
    return ssd_state(classes) if kind == "ssd300" else pyramid_state(kind, classes)
