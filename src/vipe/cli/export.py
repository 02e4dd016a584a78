"""`vipe language-model` and `vipe gguf`: what other people's servers load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipe.cli import options
from vipe.errors import AdapterError
from vipe.progress import progress


def language_model(
    output: options.Folder,
    model: options.Model = None,
) -> None:
    """Write a model's language model for a server.

    The folder is in Hugging Face's format, for vLLM and others that load LoRA adapters; with its
    chat template they make the same prompts as vipe ask. The path goes to stdout when it is
    complete.
    """
    with progress() as bar:
        bar.show("writing the language model")
        from vipe import model_files
        from vipe.serving.language_model import export_language_model

        config = model_files.read_config(model_files.resolve_folder(model))
        export_language_model(config.language_model, output)
    print(output)


def gguf(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="An adapter folder.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default=False),
    ],
) -> None:
    """Write an adapter for llama.cpp.

    The file is a LoRA in GGUF, for llama-server's --lora; the language model is the one that the
    adapter was made for, in any quantisation. The path goes to stdout when it is complete.
    """
    from vipe.adapter import load
    from vipe.serving.llama_cpp import export_gguf

    try:
        export_gguf(load(adapter), output)
    except AdapterError as error:
        known = str(error).startswith((str(adapter), str(output)))
        raise error if known else AdapterError(f"{adapter}: {error}") from error
    print(output)
