"""Serving: a plugin of vLLM's that makes the model name `vipe:VIDEO` that video's adapter.

vLLM finds `register` by its entry point and, when a request names a model that it does not know,
asks the resolver, which looks at the video where that has not been done yet. A name is one of

    vipe:KEY        an entry of the store (`vipe ls`)
    vipe:PATH       a video, by its path in the folder of videos
    vipe:PATH@KEY   what that was when it was seen: the name that vLLM gives it in its list

Settings are environment variables, as vLLM's own plugins have them:

    VIPE_STORE      the store of seen videos; without it, the plugin does nothing
    VIPE_VIDEOS     the folder of videos; without it, only what is in the store can be asked
    VIPE_MODEL      who sees: a model folder or a hub id; the default model unless given
    VIPE_DEVICE     where it sees; the CPU unless given
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vipe.errors import AdapterError, ModelError, VideoError, ViPEError

if TYPE_CHECKING:
    from vipe.entry import Entry
    from vipe.seer import Seer
    from vipe.weights import PerceptualWeights

_log = logging.getLogger(__name__)

PREFIX = "vipe:"
MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's `--max-lora-rank` can be; an adapter of a lower rank is padded."""
MODULES = frozenset({
    "q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "out_proj", "dense", "query_key_value",
    "gate_proj", "up_proj", "gate_up_proj", "down_proj", "fc1", "fc2", "dense_h_to_4h",
    "dense_4h_to_h", "lm_head",
})  # fmt: skip
"""Linear modules of its causal language models, which it loads updates of by these names."""

_KEY = re.compile(r"[0-9a-f]{20}")
_SEEN = re.compile(r".+@([0-9a-f]{20})", re.DOTALL)


def max_lora_rank(weights: PerceptualWeights) -> int:
    """Return the `--max-lora-rank` with which vLLM takes an adapter.

    Raises:
        AdapterError: None: the rank is too high, or it has no LoRA for a module.
    """
    if unknown := sorted({t.rpartition(".")[2] for t in weights.targets} - MODULES):
        raise AdapterError(
            f"vLLM has no LoRA of {unknown[0]}: it takes {', '.join(sorted(MODULES))}"
        )
    fitting = [rank for rank in MAX_RANKS if rank >= weights.rank]
    if not fitting:
        raise AdapterError(f"the rank is {weights.rank}, vLLM takes at most {MAX_RANKS[-1]}")
    return fitting[0]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What a name stands for.

    Attributes:
        name: What vLLM is to call it. The store's key is in it: another content has another name,
            under which no cached prefix of this one can be found.
        folder: The adapter.
    """

    name: str
    folder: Path


class Catalogue:
    """Names → adapters, which are in a store or come there now.

    Args:
        store: The folder of seen videos.
        videos: The folder of videos that may be asked for by name; None for none.
        model: Who sees, by its name.
        device: Where it sees.
    """

    def __init__(
        self,
        store: Path,
        *,
        videos: Path | None = None,
        model: str | None = None,
        device: str | None = None,
    ) -> None:
        from vipe.store import Store

        if videos is not None and not videos.is_dir():
            raise VideoError(f"{videos}: no such folder of videos (VIPE_VIDEOS)")
        self.store = Store(store)
        self.videos = videos.resolve() if videos is not None else None
        self._model, self._device = model, device

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Catalogue | None:
        """Read the settings; None where no store is named.

        Raises:
            VideoError: The folder of videos is none.
        """
        if not (store := settings.get("VIPE_STORE")):
            return None
        videos = settings.get("VIPE_VIDEOS")
        return cls(
            Path(store),
            videos=Path(videos) if videos else None,
            model=settings.get("VIPE_MODEL") or None,
            device=settings.get("VIPE_DEVICE") or None,
        )

    @cached_property
    def seer(self) -> Seer:
        """Who sees; its language model, which vLLM has already, is not loaded again."""
        from vipe.model import ViPE
        from vipe.seer import Seer

        class OneAtATime(Seer):
            turn = threading.Lock()

            def see(self, *video: Any, **how: Any) -> PerceptualWeights:
                with self.turn:
                    return super().see(*video, **how)

        load = partial(ViPE.from_pretrained, device=self._device, only_see=True)
        return OneAtATime.named(self._model, load=load)

    def find(self, name: str) -> Adapter | None:
        """Return what a name stands for, looking at the video if need be; None if it is not ours.

        May be called by several threads.

        Raises:
            StoreError: The store has no such entry, or cannot be written.
            VideoError: There is no such video, or it cannot be read.
            AdapterError: vLLM cannot serve it, or it is made for another language model.
            ModelError: The model that sees is missing or damaged.
        """
        if not name.startswith(PREFIX):
            return None
        asked = name.removeprefix(PREFIX)
        if _KEY.fullmatch(asked):
            return Adapter(name=name, folder=self._checked(self.store.get(asked)))
        seen = _SEEN.fullmatch(asked)
        entry = self.store.get(seen[1]) if seen else self._seen(asked)
        return Adapter(name=f"{name}@{entry.key}", folder=self._checked(entry))

    def _seen(self, asked: str) -> Entry:
        if self.videos is None:
            raise VideoError(f"{asked}: no key of the store, and no folder of videos is given")
        try:
            path = (self.videos / asked).resolve()
            there = path.is_relative_to(self.videos) and path != self.videos and path.exists()
        except (OSError, ValueError):  # no name for a file
            there = False
        if not there:
            raise VideoError(f"{asked}: no such video")
        try:
            return self.store.see(self.seer, path)
        except VideoError as error:  # where the folder is, is not for those who ask
            raise VideoError(str(error).replace(str(path), asked)) from error

    def _checked(self, entry: Entry) -> Path:
        weights = entry.load()
        names = [weights.base_model, self.seer.config.language_model]
        # The same model goes by its short name, its hub id, or a folder.
        if len({name.rstrip("/").rpartition("/")[2].casefold() for name in names}) > 1:
            raise AdapterError(
                f"{entry.key}: made for the language model {names[0]}, not for {names[1]}"
            )
        try:
            max_lora_rank(weights)
        except AdapterError as error:
            raise AdapterError(f"{entry.key}: {error}") from error
        return Path(entry.path).resolve()


def register() -> None:
    """Give vLLM the resolver, if a store is named; called in each of its processes."""
    if (catalogue := Catalogue.of(os.environ)) is None:
        return
    from vllm.lora.resolver import LoRAResolverRegistry

    LoRAResolverRegistry.register_resolver("ViPE", make_resolver(catalogue))


def make_resolver(catalogue: Catalogue) -> Any:
    """Return a `LoRAResolver` of vLLM's that asks a catalogue."""
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver

    class VideoResolver(LoRAResolver):
        async def resolve_lora(self, base_model_name: str, lora_name: str) -> Any:
            try:
                found = await asyncio.to_thread(catalogue.find, lora_name)
            except ModelError:
                raise  # the server's fault
            except ViPEError as error:
                _log.warning("%s", error)
                raise _not_found(error) from error
            if found is None:
                return None
            # vLLM's server gives a number of its own; one that keeps this finds no other there.
            number = int(hashlib.sha256(found.name.encode()).hexdigest()[:15], 16) + 1
            return LoRARequest(found.name, number, str(found.folder))

    return VideoResolver()


def _not_found(error: ViPEError) -> Exception:
    """Return the error that vLLM's server answers with status 404 and this text."""
    try:
        from vllm.exceptions import VLLMNotFoundError
    except ImportError:  # an older vLLM; its server answers with status 400
        return ValueError(str(error))
    return VLLMNotFoundError(str(error))
