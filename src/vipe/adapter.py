"""Stage 6 of the flow, PerceptualWeights ↔ a folder in PEFT's LoRA format, for any server to load.

Names, configuration and constants are PEFT's own. Tensors are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import json
import shutil
import uuid
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from vipe.errors import AdapterError
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from peft import LoraConfig

_PREFIX = "base_model.model."  # PEFT's wrapper around the model, in its saved names
_FACTORS = {"A": ".lora_A.weight", "B": ".lora_B.weight"}

# What an adapter's configuration may say without changing ΔW = (α / r) · B A. Any other setting
# that differs from PEFT's default asks for something that is not done here (DoRA, biases, …).
_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config",
    "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform", "lora_alpha",
    "lora_dropout", "megatron_core", "peft_type", "peft_version", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type",
}  # fmt: skip
# Initialisations that leave the base weights as they are.
_HARMLESS_STARTS = (True, False, "gaussian", "eva", "orthogonal")


def save(weights: PerceptualWeights, folder: str | PathLike[str]) -> None:
    """Write `weights` as a PEFT LoRA folder, whole or not at all.

    An adapter that is there already is replaced once the new one is complete.

    Args:
        weights: The update of one video.
        folder: Where to; it must not exist, be empty, or hold an adapter and nothing else.

    Raises:
        AdapterError: `folder` holds something else, or cannot be written.
        ValueError: There is more than one update.
    """
    from peft import LoraConfig
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if len(weights) != 1:
        raise ValueError(f"one update can be saved at a time, got a batch of {len(weights)}")
    single = weights[0] if weights.is_batched else weights
    alpha = single.alpha
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=single.base_model,
        r=single.rank,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,  # type: ignore[arg-type]
        inference_mode=True,
    )
    # Full names match these layers and no others. PEFT would keep a set, in no order.
    config.target_modules = sorted(single.targets)
    tensors = {
        f"{_PREFIX}{target}{suffix}": factors[target].detach().cpu().clone().contiguous()
        for factors, suffix in ((single.A, _FACTORS["A"]), (single.B, _FACTORS["B"]))
        for target in single.targets
    }
    final = Path(folder).resolve()
    _check_replaceable(final, {CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME})
    fresh, old = (
        final.with_name(f".{final.name}.{uuid.uuid4().hex}.{end}") for end in ("new", "old")
    )
    try:
        fresh.mkdir(parents=True)
        config.save_pretrained(str(fresh))
        save_file(tensors, fresh / SAFETENSORS_WEIGHTS_NAME, {**single.metadata, "format": "pt"})
        if final.exists():
            final.rename(old)
        try:
            fresh.rename(final)
        except OSError:
            if old.exists():
                old.rename(final)
            raise
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder}: cannot write the adapter: {_one_line(error)}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def load(folder: str | PathLike[str]) -> PerceptualWeights:
    """Read a LoRA folder that this package or PEFT wrote.

    Different ranks per layer are padded to the largest with zeros, which leaves ΔW as it is.

    Args:
        folder: The folder with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        AdapterError: It is missing, damaged, not a LoRA, or uses more of PEFT than a plain LoRA.
    """
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
    from peft.utils.other import get_pattern_key

    path = Path(folder)
    if not path.is_dir():
        raise AdapterError(f"{path}: no such adapter folder")
    for name in (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise AdapterError(f"{path}: not an adapter, {name} is missing")
    config = _read_config(path / CONFIG_NAME)
    file = path / SAFETENSORS_WEIGHTS_NAME
    factors, metadata = _read_factors(file)
    rank = max(A.shape[0] for A in factors["A"].values())
    scale = config.lora_alpha / config.r
    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    for target, A in factors["A"].items():
        B = factors["B"][target]
        own_rank = ranks.get(get_pattern_key(list(ranks), target), config.r)
        own_alpha = alphas.get(get_pattern_key(list(alphas), target), config.lora_alpha)
        if A.ndim != 2 or B.ndim != 2 or A.shape[0] != own_rank or B.shape[1] != own_rank:
            raise AdapterError(
                f"{file}: {target} should have rank {own_rank}, but has A {tuple(A.shape)} and "
                f"B {tuple(B.shape)}"
            )
        if (own_scale := own_alpha / own_rank) != scale:
            B = B * (own_scale / scale)
        factors["A"][target] = F.pad(A, (0, 0, 0, rank - own_rank))
        factors["B"][target] = F.pad(B, (0, rank - own_rank))
    return PerceptualWeights(
        A=factors["A"],
        B=factors["B"],
        alpha=scale * rank,
        base_model=config.base_model_name_or_path or "",
        metadata=metadata,
    )


def _read_config(file: Path) -> LoraConfig:
    from peft import LoraConfig

    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file}: not valid JSON: {_one_line(error)}") from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise AdapterError(f"{file}: not a LoRA adapter (peft_type is {kind!r})")
    try:
        config = LoraConfig.from_pretrained(str(file.parent))
        usable = config.r > 0 and config.lora_alpha / config.r is not None
    except Exception as error:  # whatever PEFT's own checks raise
        raise AdapterError(f"{file}: not a usable configuration: {_one_line(error)}") from error
    if not usable:
        raise AdapterError(f"{file}: r must be positive, got {config.r}")
    default = LoraConfig()
    unsupported = sorted(
        name
        for name, value in vars(config).items()
        if name not in _HARMLESS and value and value != getattr(default, name, None)
        and not (name == "init_lora_weights" and value in _HARMLESS_STARTS)
    )  # fmt: skip
    if unsupported:
        raise AdapterError(f"{file}: not a plain LoRA, it uses {', '.join(unsupported)}")
    return config


def _read_factors(file: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
    """Read A and B per target, and the notes, from PEFT's names."""
    from safetensors import SafetensorError, safe_open

    factors: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = {k: v for k, v in (stored.metadata() or {}).items() if k != "format"}
            for key in stored.keys():  # noqa: SIM118 (not a mapping)
                for factor, suffix in _FACTORS.items():
                    if key.startswith(_PREFIX) and key.endswith(suffix):
                        target = key.removeprefix(_PREFIX).removesuffix(suffix)
                        factors[factor][target] = stored.get_tensor(key)
                        break
                else:
                    raise AdapterError(f"{file}: unexpected tensor {key}")
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file}: damaged: {_one_line(error)}") from error
    if not factors["A"] or (odd := factors["A"].keys() ^ factors["B"].keys()):
        raise AdapterError(
            f"{file}: " + (f"{min(odd)} has one of A and B only" if factors["A"] else "no factors")
        )
    return factors, metadata


def _check_replaceable(folder: Path, own: set[str]) -> None:
    """Refuse to replace anything but an adapter: what else is there would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise AdapterError(f"{folder}: exists and is not a folder")
    if others := sorted({entry.name for entry in folder.iterdir()} - own):
        raise AdapterError(f"{folder}: not replaced, it holds {others[0]}, no part of an adapter")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
