"""Does llama.cpp say what ViPE says? Answers to 20 questions about five clips, by GGUF adapters.

    uv pip install llama-cpp-py-sync               # llama.cpp as a wheel
    python scripts/llama_cpp_parity.py

The language model is the packaged GGUF file itself. It is quantised, and llama.cpp quantises what
it multiplies with it too, while ViPE computes with the same numbers in float32; so logits differ,
with an adapter and without, and it is the two differences that are compared. One adapter has static
targets (q, k and v of two layers), whose rows llama.cpp has in another order. The last line of
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from llama_cpp_py_sync import __llama_cpp_tag__
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
from vllm_parity import TOKENS, clips_and_questions, note, see, with_static_targets

from vipe import Decoding, ViPE
from vipe.backbones.packages import DEFAULT_LANGUAGE_MODEL, LANGUAGE_PACKAGES
from vipe.chat import prompt_ids
from vipe.serving.llama_cpp import export_gguf


class LlamaCpp:
    """A GGUF model in llama.cpp, by its C interface."""

    def __init__(self, file: Path) -> None:
        self.lib, self.ffi = get_lib(), get_ffi()
        self.lib.llama_backend_init()
        parameters = self.lib.llama_model_default_params()
        self.model = self.lib.llama_model_load_from_file(str(file).encode(), parameters)
        settings = self.lib.llama_context_default_params()
        settings.n_ctx, settings.n_threads, settings.n_threads_batch = 512, 1, 1
        self.context = self.lib.llama_init_from_model(self.model, settings)
        self.words = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))

    def attach(self, file: Path | None) -> None:
        """Compute with this adapter from now on, and with no other."""
        adapters, scales = self.ffi.new("struct llama_adapter_lora *[1]"), self.ffi.new("float[1]")
        if file is not None:
            adapters[0], scales[0] = (
                self.lib.llama_adapter_lora_init(self.model, str(file).encode()),
                1,
            )
            if adapters[0] == self.ffi.NULL:
                raise SystemExit(f"llama.cpp does not load {file}")
        status = self.lib.llama_set_adapters_lora(
            self.context, adapters, int(file is not None), scales
        )
        if status:
            raise SystemExit(f"llama.cpp does not take {file}: {status}")

    def logits(self, tokens: Sequence[int], start: int) -> torch.Tensor:
        """Return the logits after some tokens, of which the first is the `start`-th."""
        if start == 0:
            self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        batch = self.lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, start + place, 1
            batch.seq_id[place][0], batch.logits[place] = 0, place == len(tokens) - 1
        status = self.lib.llama_decode(self.context, batch)
        self.lib.llama_batch_free(batch)
        if status:
            raise SystemExit(f"llama.cpp does not decode: {status}")
        row = self.lib.llama_get_logits_ith(self.context, -1)
        return torch.tensor(self.ffi.unpack(row, self.words))

    def answer(self, prompt: Sequence[int], end: int) -> list[int]:
        """Return the greedy answer's tokens."""
        said: list[int] = []
        logits = self.logits(prompt, 0)
        while (token := int(logits.argmax())) != end and len(said) < TOKENS:
            said.append(token)
            logits = self.logits([token], len(prompt) + len(said) - 1)
        return said


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder or a hub id (default: the default model)")
    parser.add_argument(
        "--rows", type=Path, help="rows as for vipe eval (default: of drawn scenes)"
    )
    options = parser.parse_args()
    base = LANGUAGE_PACKAGES[DEFAULT_LANGUAGE_MODEL].find()
    model = ViPE.from_pretrained(options.model)
    if base is None or model.config.language_model != DEFAULT_LANGUAGE_MODEL:
        raise SystemExit("this compares with the packaged language model")
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(compare(model, options, base, Path(place))))


def compare(model: ViPE, options: argparse.Namespace, base: Path, work: Path) -> dict[str, Any]:
    """Return how many answers are equal, and how far logits are apart."""
    folder, asked = clips_and_questions(options.rows, work)
    adapters: dict[str, Any] = see(
        model, options.model, sorted({c for c, _ in asked}), folder, work
    )
    first = asked[0][0]
    adapters["static"] = with_static_targets(model, adapters[first][0], work / "static")
    asked += [("static", question) for clip, question in asked if clip == first]
    theirs = LlamaCpp(base)
    equal, apart = 0, {"with": 0.0, "without": 0.0}
    moved, shown = 0.0, 0
    for clip in (None, *adapters):
        file = None if clip is None else work / "adapter.gguf"
        if clip is not None:
            export_gguf(adapters[clip][0], work / "adapter.gguf")
        theirs.attach(file)
        for question in {q: None for c, q in asked if clip in (None, c)}:
            prompt = prompt_ids(model.tokenizer, question)
            seen = adapters[clip][0] if clip is not None else None
            bare = last_logits(model, prompt)
            with seen.attached_to(model.language_model) if seen else nullcontext():
                ours = last_logits(model, prompt)
            got = theirs.logits(prompt, 0)
            kind = "without" if clip is None else "with"
            apart[kind] = max(apart[kind], float((ours - got).pow(2).mean().sqrt()))
            if seen is not None:
                shown += 1
                moved += float((ours - bare).pow(2).mean().sqrt())
                said = theirs.answer(prompt, model.tokenizer.eos_token_id)
                text = model.tokenizer.decode(said, skip_special_tokens=True).strip()
                wanted = model.ask(seen, question, decoding=Decoding(max_new_tokens=TOKENS))
                equal += text == wanted
                if text != wanted:
                    note(f"{clip}: {question!r}: ours {wanted!r}, theirs {text!r}")
    return {
        "llama.cpp": __llama_cpp_tag__,
        "answers": shown,
        "equal": equal,
        "logits_apart_with_adapter": round(apart["with"], 3),
        "logits_apart_without": round(apart["without"], 3),
        "logits_moved_by_an_adapter": round(moved / shown, 3),
    }


def last_logits(model: ViPE, prompt: Sequence[int]) -> torch.Tensor:
    """Return our logits after a prompt, with what is attached now."""
    with torch.inference_mode():
        return model.language_model(torch.tensor([prompt])).logits[0, -1]


if __name__ == "__main__":
    sys.exit(main())
