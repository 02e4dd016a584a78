"""Serving: PerceptualWeights → a LoRA in GGUF, as llama.cpp loads it.

llama.cpp knows the layers by names of its own and keeps the rows of Llama's queries and keys in
another order, since it rotates neighbouring numbers where transformers rotates halves.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from vipe.backbones import language_model_config
from vipe.errors import AdapterError

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights

# transformers' model types of which llama.cpp makes the architecture "llama".
_LLAMA = ("llama", "mistral")


def export_gguf(weights: PerceptualWeights, file: str | PathLike[str]) -> None:
    """Write an update as a GGUF file, whole or not at all.

    Args:
        weights: The update of one video, of a Llama-like language model.
        file: Where to; a file that is there is replaced.

    Raises:
        AdapterError: The language model or a layer is none that llama.cpp takes an update of, or
            the file cannot be written.
        ModelError: The language model's config is nowhere to be found.
        ValueError: There is more than one update.
    """
    import gguf

    if len(weights) != 1:
        raise ValueError(f"one update can be exported at a time, got a batch of {len(weights)}")
    single = (weights[0] if weights.is_batched else weights).to(device="cpu")
    config = language_model_config(single.base_model)
    if config.model_type not in _LLAMA:
        raise AdapterError(
            f"{single.base_model} is a model of type {config.model_type}; updates of "
            f"{' and '.join(_LLAMA)} can be written for llama.cpp"
        )
    heads = {
        "q_proj": config.num_attention_heads,
        "k_proj": config.num_key_value_heads or config.num_attention_heads,
    }
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    final = Path(file)
    fresh = final.with_name(f".{final.name}.{uuid.uuid4().hex}.new")
    writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(single.alpha or single.rank))
    for target in single.targets:
        name = names.get_name(target)
        if name is None or (target == "lm_head" and config.tie_word_embeddings):
            raise AdapterError(f"llama.cpp takes no update of {target}")
        A, B = (factor.float() for factor in single.factors(target))
        if count := heads.get(target.rpartition(".")[2]):
            B = _interleaved(B, count)
        B = B * bool(single.alpha)  # llama.cpp takes α = 0 for "not given"
        B = B * (len(A) / single.rank)  # and divides α by each layer's own rank
        writer.add_tensor(f"{name}.weight.lora_a", A.contiguous().numpy())
        writer.add_tensor(f"{name}.weight.lora_b", B.contiguous().numpy())
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        writer.write_header_to_file(fresh)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(fresh, final)  # noqa: PTH105  # on every system, also over a file
    except OSError as error:
        raise AdapterError(f"{final}: cannot be written ({error.strerror})") from error
    finally:
        writer.close()
        with suppress(OSError):
            fresh.unlink()


def _interleaved(B: Float[Tensor, "outputs rank"], heads: int) -> Float[Tensor, "outputs rank"]:
    """Lay the two halves of each head's rows alternately."""
    return B.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
