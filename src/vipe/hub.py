"""Beside the flow: adapters and models to and from the Hugging Face hub."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vipe.backbones.lookup import one_line
from vipe.backbones.packages import hub_name
from vipe.errors import AdapterError, ModelError, ViPEError

if TYPE_CHECKING:
    from vipe.model import ViPE
    from vipe.weights import PerceptualWeights

_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_CARD = "README.md"
_ADAPTER_CARD = """
What a video became: a LoRA of `{base}`, made by ViPE. The language model with it answers questions
about the video, with no visual token in the prompt.

```python
from vipe import PerceptualWeights, ViPE

model = ViPE.from_pretrained()
print(model.ask(PerceptualWeights.load("{name}"), "What is in the video?"))
```

It is a plain PEFT adapter: `PeftModel.from_pretrained(language_model, "{name}")`.
"""
_MODEL_CARD = """
A ViPE model: it looks at a video once and writes what it saw into the weights of `{base}`, as a
LoRA. This is the trained part; `config.json` names the language model and the encoder.

```python
from vipe import ViPE

model = ViPE.from_pretrained("{name}")
print(model.ask(model.see("video.mp4"), "What is in the video?"))
```

or as transformers does it:

```python
import vipe.integrations.transformers
from transformers import pipeline

answer = pipeline("video-text-to-text", model="{name}")
print(answer("video.mp4", "What is in the video?")[0]["generated_text"])
```
"""


def is_id(name: str | os.PathLike[str]) -> bool:
    """Tell whether a name can be one of the hub's, `owner/name`."""
    return bool(_ID.fullmatch(os.fspath(name)))


def fetch(
    name: str,
    files: Sequence[str],
    *,
    also: Sequence[str] = (),
    failure: type[ViPEError],
    **where: Any,
) -> Path:
    """Return the folder in the hub's cache that holds some files of a repository.

    Args:
        name: The hub id, `owner/name`.
        files: Names of the files.
        also: Patterns of others, where there are any.
        failure: What is raised.
        where: Of the hub's client: `revision`, `token`, `cache_dir`, `local_files_only`, ….

    Raises:
        ViPEError: `failure`; the hub does not give them, and the cache has them not.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=[*files, *also], **where))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise failure(f"{name}: no such folder, and the hub does not give it") from error
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise failure(f"{name}: the hub has no {missing[0]} of it")
    return folder


def push_adapter(
    weights: PerceptualWeights, name: str, *, private: bool | None, message: str, token: str | None
) -> str:
    """Upload what a video became as a PEFT LoRA, in one commit.

    The language model goes by its name on the hub there, so that PEFT finds it. The notes go along:
    the file's name, the seconds and frames of the video.

    Args:
        weights: The update of one video.
        name: The hub id, `owner/name`; the repository is made if there is none.
        private: Whether a new repository is; None for the owner's default.
        message: Of the commit.
        token: Of the hub; None for the one that is logged in with.

    Returns:
        The commit's address.

    Raises:
        AdapterError: The name is none, or the hub does not take it.
        ValueError: There is more than one update.
    """
    base = hub_name(weights.base_model)
    card = _card(name, _ADAPTER_CARD, base=base, library="peft")
    named = replace(weights, base_model=base)

    def save(folder: Path) -> None:
        named.save(folder, state=False)  # what was seen stays here

    return _push(save, name, card, private, message, token, AdapterError)


def push_model(
    model: ViPE, name: str, *, private: bool | None, message: str, token: str | None
) -> str:
    """Upload a model folder in one commit; see `ViPE.push_to_hub`."""
    from vipe.model_files import LANGUAGE_MODEL, own_language_model

    base = hub_name(model.config.language_model)
    if own_language_model(base) is not None:
        base = f"{name}/{LANGUAGE_MODEL}"
    card = _card(name, _MODEL_CARD, base=base, library="vipe", task="video-text-to-text")
    return _push(model.save_pretrained, name, card, private, message, token, ModelError)


def _push(
    save: Callable[[Path], None],
    name: str,
    card: str,
    private: bool | None,
    message: str,
    token: str | None,
    failure: type[ViPEError],
) -> str:
    from huggingface_hub import HfApi

    if not is_id(name):
        raise failure(f"{name}: not an id of the hub, which is owner/name")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "whole")
        save(folder)
        hub = HfApi(token=token)
        try:
            hub.create_repo(name, private=private, exist_ok=True)
            if not hub.file_exists(name, _CARD):  # else it is the owner's
                (folder / _CARD).write_text(card, encoding="utf-8")
            commit = hub.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except Exception as error:  # whatever the client's own checks and its HTTP raise
            raise failure(f"{name}: the hub does not take it ({one_line(error)})") from error
    return str(commit.commit_url)


def _card(name: str, text: str, *, base: str, library: str, task: str = "") -> str:
    """Return the text of a repository's README, with the header that the hub reads."""
    made_for = [f"base_model: {base}"] if is_id(base) else []  # a folder is no name to others
    does = [f"pipeline_tag: {task}"] if task else []
    header = [f"library_name: {library}", *does, *made_for, "tags:", "- vipe", "- lora", "- video"]
    title = name.rpartition("/")[2]
    body = text.format(name=name, base=base).strip()
    return "\n".join(["---", *header, "---", "", f"# {title}", "", body, ""])
