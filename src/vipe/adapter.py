"""Stage 6 of the flow, PerceptualWeights ↔ a folder in PEFT's LoRA format, for any server to load.

Names, configuration and constants are PEFT's own. Tensors are safetensors; nothing is unpickled.
What PEFT has no place for is in a file of ours beside its two (`vipe.adapter_state`).
"""

from __future__ import annotations

import json
import math
import shutil
import uuid
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from vipe import adapter_state, hub
from vipe.errors import AdapterError
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from peft import LoraConfig

_PREFIX = "base_model.model."  # PEFT's wrapper around the model, in its saved names
_A, _B = ".lora_A.weight", ".lora_B.weight"

# What an adapter's configuration may say without changing ΔW = (α / r) · B A. Any other setting
# that differs from PEFT's default asks for something that is not done here (DoRA, biases, …).
_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config",
    "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform", "lora_alpha",
    "lora_dropout", "megatron_core", "peft_type", "peft_version", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type",
}  # fmt: skip
_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Initialisations that leave the base weights as they are.
_HARMLESS_STARTS = (True, False, "gaussian", "eva", "orthogonal")


def save(weights: PerceptualWeights, folder: str | PathLike[str], *, state: bool = True) -> None:
    """Write `weights` as a PEFT LoRA folder, whole or not at all.

    An adapter that is there already is replaced once the new one is complete; one that differs in
    its tensors and notes alone (as of a video that goes on) at once, so that whoever reads it finds
    either the one or the other.

    Args:
        weights: The update of one video.
        folder: Where to; it must not exist, be empty, or hold an adapter and nothing else.
        state: Whether what sums and `compose` need goes along, in a file that PEFT does not read.

    Raises:
        AdapterError: `folder` holds something else, or cannot be written.
        ValueError: There is more than one update.
    """
    from peft import LoraConfig
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import save as to_bytes

    if len(weights) != 1:
        raise ValueError(f"one update can be saved at a time, got a batch of {len(weights)}")
    single = weights[0] if weights.is_batched else weights
    # Who takes no notice of the patterns has room for all ranks, and scales as they do.
    ranks = {t: A.shape[0] for t, A in single.A.items() if A.shape[0] != single.rank}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=single.base_model,
        r=single.rank,
        lora_alpha=_whole(single.alpha),  # type: ignore[arg-type]
        rank_pattern=ranks,
        alpha_pattern={t: _whole(single.scale * rank) for t, rank in ranks.items()},
        inference_mode=True,
    )
    # Full names match these layers and no others. PEFT would keep a set, in no order.
    config.target_modules = sorted(single.targets)
    tensors = {
        f"{_PREFIX}{target}{suffix}": factors[target].detach().cpu().clone().contiguous()
        for factors, suffix in ((single.A, _A), (single.B, _B))
        for target in single.targets
    }
    final = Path(folder).resolve()
    _check_replaceable(final, {CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, adapter_state.FILE})
    unique = f".{final.name}.{uuid.uuid4().hex}"
    fresh, old = final.with_name(f"{unique}.new"), final.with_name(f"{unique}.old")
    try:
        fresh.mkdir(parents=True)
        config.save_pretrained(str(fresh))
        notes = {**single.metadata, "format": "pt"}
        # Not `save_file`: it leaves a file that only its owner can read.
        contents = to_bytes(tensors, notes)
        (fresh / SAFETENSORS_WEIGHTS_NAME).write_bytes(contents)
        beside = adapter_state.to_bytes(single, contents) if state else None
        if beside is not None:
            (fresh / adapter_state.FILE).write_bytes(beside)
        if _same(final / CONFIG_NAME, fresh / CONFIG_NAME):
            (fresh / SAFETENSORS_WEIGHTS_NAME).replace(final / SAFETENSORS_WEIGHTS_NAME)
            # Until then the one that is there, of the weights before, is left aside by who reads.
            if beside is not None:
                (fresh / adapter_state.FILE).replace(final / adapter_state.FILE)
            else:
                (final / adapter_state.FILE).unlink(missing_ok=True)
            return
        if final.exists():
            final.rename(old)
        fresh.rename(final)
    except OSError as error:
        raise AdapterError(f"{folder}: cannot write the adapter: {_one_line(error)}") from error
    finally:  # also when interrupted: what was there before stays, or comes back
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def load(folder: str | PathLike[str]) -> PerceptualWeights:
    """Read a LoRA folder that this package or PEFT wrote.

    Args:
        folder: The folder with `adapter_config.json` and `adapter_model.safetensors`, or where
            there is none of the name, a hub id.

    Raises:
        AdapterError: It is missing, damaged, not a LoRA, or uses more of PEFT than a plain LoRA.
    """
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

    path = Path(folder)
    if not path.exists() and hub.is_id(folder):
        path = hub.fetch(str(folder), _FILES, failure=AdapterError)
    if not path.is_dir():
        raise AdapterError(f"{path}: no such adapter folder")
    for name in (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME):
        if not (path / name).is_file():
            raise AdapterError(f"{path}: not an adapter, {name} is missing")
    config = _read_config(path / CONFIG_NAME)
    factors, metadata = _read_factors(path / SAFETENSORS_WEIGHTS_NAME)
    scales: dict[str, float] = {}
    for target, (own_A, _) in factors.items():
        own_rank, own_alpha = _rank_and_alpha(config, target)
        if own_A.shape[0] != own_rank:
            raise AdapterError(
                f"{path}: {target} has rank {own_A.shape[0]}, {CONFIG_NAME} says {own_rank}"
            )
        scales[target] = own_alpha / own_rank
    A = {target: own for target, (own, _) in factors.items()}
    B = {target: own for target, (_, own) in factors.items()}
    scale, *others = set(scales.values())
    if others:  # ours have one for all
        scale, B = 1.0, {target: own * scales[target] for target, own in B.items()}
    rank = max(own.shape[0] for own in A.values())
    base_model = str(config.base_model_name_or_path or "")
    weights = PerceptualWeights(
        A=A, B=B, alpha=scale * rank, base_model=base_model, metadata=metadata
    )
    return adapter_state.read(path / adapter_state.FILE, weights, path / SAFETENSORS_WEIGHTS_NAME)


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
        numbers = [config.r, *(config.rank_pattern or {}).values()]
        alphas = [config.lora_alpha, *(config.alpha_pattern or {}).values()]
        if not (all(n >= 1 for n in numbers) and all(map(math.isfinite, alphas))):
            raise ValueError(f"ranks {numbers} and alphas {alphas}")
        _rank_and_alpha(config, "")  # the patterns are regular expressions
    except Exception as error:  # whatever PEFT's own checks raise, on whatever the file says
        raise AdapterError(f"{file}: not a usable configuration: {_one_line(error)}") from error
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


def _whole(alpha: float | int) -> float | int:
    return int(alpha) if alpha == int(alpha) else alpha


def _rank_and_alpha(config: LoraConfig, target: str) -> tuple[int, float]:
    """Return what `config` says for one layer, by PEFT's own matching of its patterns."""
    from peft.utils.other import get_pattern_key

    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    return (
        ranks.get(get_pattern_key(list(ranks), target), config.r),
        float(alphas.get(get_pattern_key(list(alphas), target), config.lora_alpha)),
    )


def _read_factors(file: Path) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, str]]:
    """Read A and B per target, and the notes, from PEFT's names."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            notes = {k: v for k, v in (stored.metadata() or {}).items() if k != "format"}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file}: damaged: {_one_line(error)}") from error
    factors = {}
    for key_A in [key for key in tensors if key.endswith(_A)]:
        target = key_A.removeprefix(_PREFIX).removesuffix(_A)
        A, B = (
            tensors.pop(f"{_PREFIX}{target}{_A}", None),
            tensors.pop(f"{_PREFIX}{target}{_B}", None),
        )
        if A is None or B is None:
            raise AdapterError(
                f"{file}: {target} has no {_PREFIX}{target}{_A if A is None else _B}"
            )
        if A.ndim != 2 or B.ndim != 2 or A.shape[0] != B.shape[1] or not A.is_floating_point():
            raise AdapterError(
                f"{file}: {target} should have floating A (r, in) and B (out, r), has "
                f"{A.dtype} {tuple(A.shape)} and {B.dtype} {tuple(B.shape)}"
            )
        factors[target] = (A, B)
    if tensors or not factors:
        raise AdapterError(f"{file}: unexpected {min(tensors)}" if tensors else f"{file}: is empty")
    return factors, notes


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


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
