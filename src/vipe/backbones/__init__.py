"""Before the flow, where pretrained parts come from: language models and vision backbones.

language   causal language models and their tokenizers
unpacking  a packaged GGUF file written as a folder, by a program of its own
vision     timm models, vision towers of Hugging Face models
packages   the installable packages that carry weights
lookup     the order in which a backbone is looked for, and what is said when it is not found

Nothing here unpickles: weights are safetensors, GGUF, or tensors that PyTorch's `weights_only`
loader accepts. Heavy libraries are imported where they are used, so importing this is quick.
"""

from vipe.backbones.language import (
    cast_parameters,
    language_model_config,
    language_model_shapes,
    load_language_model,
    load_tokenizer,
)
from vipe.backbones.packages import DEFAULT_LANGUAGE_MODEL, DEFAULT_VISION_MODEL
from vipe.backbones.vision import load_timm_model, load_vision_tower, load_vision_weights

__all__ = [
    "DEFAULT_LANGUAGE_MODEL",
    "DEFAULT_VISION_MODEL",
    "cast_parameters",
    "language_model_config",
    "language_model_shapes",
    "load_language_model",
    "load_timm_model",
    "load_tokenizer",
    "load_vision_tower",
    "load_vision_weights",
]
