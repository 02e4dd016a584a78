"""Stage 2 of the flow, Frames → PatchFeatures: a frozen vision backbone sees every frame.

encoder              what all encoders do: resize, normalise, batch, place the patches
timm_encoder         any timm backbone: convolutional, or a vision transformer
huggingface_encoder  the vision towers of CLIP, SigLIP and DINOv2
folding              batch norms folded into the convolutions before them, for speed
configs              a config as plain values, and back
"""

from vipe.encoders.configs import (
    EncoderConfig,
    encoder_config_from_dict,
    encoder_config_to_dict,
)
from vipe.encoders.encoder import Encoder, PatchFeatures
from vipe.encoders.huggingface_encoder import HuggingFaceEncoderConfig
from vipe.encoders.timm_encoder import TimmEncoderConfig

__all__ = [
    "Encoder",
    "EncoderConfig",
    "HuggingFaceEncoderConfig",
    "PatchFeatures",
    "TimmEncoderConfig",
    "encoder_config_from_dict",
    "encoder_config_to_dict",
]
