"""U-Net (Ronneberger et al. 2015) as in its figure: down, up again beside what was on the way down, a class a pixel."""

from __future__ import annotations

from keras import layers

from mrcnn.layers.unet import unet
from mrcnn.models.semantic import SemanticNetwork
from mrcnn.ops.boxes import Tensor
from mrcnn.settings import Config


class UNet(SemanticNetwork):
    """U-Net, BACKBONE_WIDTH channels wide at the top; with BORDER_WEIGHT it learns to keep objects apart that touch
    each other, so that connected pixels are single objects."""

    name = "unet"

    def logits(self, config: Config, image: Tensor) -> dict[str, Tensor]:
        x = unet(
            image,
            config.BACKBONE_WIDTH,
            config.UNET_LEVELS,
            config.UNET_BN,
            config.TRAIN_BN,
            config.UNET_UNPOOL,
            config.UNET_DROPOUT,
        )
        return {"semantic_logits": layers.Conv2D(config.NUM_CLASSES, 1, name="semantic_class")(x)}

    def get_imagenet_weights(self) -> str:
        """Refused with a ValueError, as it has none of the backbones."""
        raise ValueError("A unet has no backbone, and so begins with nothing of ImageNet: take none in its place.")
