"""FCN (Long et al. 2015) as in its figure: a backbone without its classifier, scores of its maps, enlarged, added."""

from __future__ import annotations

from keras import layers

from mrcnn.layers.fcn_head import convolution_scores, enlarged, skip_scores
from mrcnn.layers.vgg import BACKBONES as VGG
from mrcnn.models import parts
from mrcnn.models.semantic import SemanticNetwork
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class FCN(SemanticNetwork):
    """A fully convolutional network: FCN-8s, -16s and -32s by FCN_STRIDE, on VGG-16 as in the paper or on any other
    backbone; or, with FCN_HEAD "dilated", torchvision's fcn_resnet50 and fcn_resnet101, whose last maps keep a stride
    of 8 and which learn from an earlier one, too (semantic_aux_logits)."""

    name = "fcn"

    def logits(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        if config.FCN_HEAD == "dilated":
            *_, c4, c5 = parts.backbone(config, image, output_stride=8)
            return {
                f"{prefix}_logits": enlarged(
                    convolution_scores(
                        x, config.NUM_CLASSES, prefix, config.FCN_DROPOUT, config.TRAIN_BN, config.BATCH_NORM_EPSILON
                    ),
                    8,
                )
                for prefix, x in (("semantic", c5), ("semantic_aux", c4))
            }
        maps = self.maps(config, image)
        classes, channels = config.NUM_CLASSES, config.FCN_CHANNELS
        return {"semantic_logits": skip_scores(maps, classes, config.FCN_STRIDE, channels, config.FCN_DROPOUT)}

    def maps(self, config: Config, image: Tensor) -> list[Tensor]:
        """Maps of the strides 8, 16 and 32: C3 to C5, or of VGG-16 the paper's pool3, pool4 and pool5."""
        _, c2, c3, c4, c5 = parts.backbone(config, image)
        if config.BACKBONE in VGG:
            return [layers.MaxPooling2D(2, padding="same")(c2), layers.MaxPooling2D(2, padding="same")(c3), c5]
        return [c3, c4, c5]
