"""Evaluation, cost: models of large shapes with random weights, which take the time of real ones.

They are made where they are to be timed, and drawn there: of 7B, in seconds on a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch

from vipe.backbones import language_model_config
from vipe.config import ViPEConfig
from vipe.model import ViPE
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def random_model(
    config: ViPEConfig, *, device: torch.device | str, dtype: torch.dtype = torch.bfloat16
) -> ViPE:
    """Make a model whose backbones are random too.

    It sees, and its language model answers token ids: it has no tokenizer.

    Args:
        config: What it is; see `vipe.evaluation.shapes`.
        device: Where it is made.
        dtype: Of the language model; what else there is computes as of any ViPE.

    Raises:
        ModelError: The shapes of a backbone are nowhere to be found.
    """
    from transformers import AutoModelForCausalLM

    shapes = language_model_config(config.language_model)
    with torch.device(device):
        # The plain attention would hold every two tokens of the longest prompts.
        language_model: Any = AutoModelForCausalLM.from_config(
            shapes, dtype=dtype, attn_implementation="sdpa"
        )
        encoder = replace(config.encoder, pretrained=False).build()
        video_to_weights = VideoToWeights(
            config, channels=encoder.channels, language_model=language_model
        )
    return ViPE(
        config,
        encoder=encoder,
        video_to_weights=video_to_weights.eval(),
        language_model=language_model.eval().requires_grad_(False),
        tokenizer=cast("PreTrainedTokenizerBase", None),
    )
