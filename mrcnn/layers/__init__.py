"""The boxes of the papers' figures: backbones, pyramid, heads and what lies between them."""
