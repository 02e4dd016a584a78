"""The engines that need no server: ours, merged, PEFT's, and the bare language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from comparison import Comparison, apart, over_all
from peft import PeftModel
from questions import TOKENS, Adapters, Asked
from transformers import AutoModelForCausalLM, AutoTokenizer

from vipe import Decoding, PerceptualWeights, ViPE
from vipe.backbones.lookup import quiet_transformers
from vipe.chat import prompt_ids

Holding = Callable[[PerceptualWeights, Path], AbstractContextManager[Any]]
"""A video's weights and its adapter folder → the language model with the video in it."""


def ask_in_process(
    model: ViPE,
    language_model: Path,
    adapters: Adapters,
    asked: Sequence[Asked],
    engines: Sequence[str],
    exact: Mapping[Asked, torch.Tensor],
) -> tuple[Comparison, dict[str, Any]]:
    """Ask ourselves, then the others, and compare answers and logits.

    Args:
        model: In the dtype that is compared.
        language_model: The folder that others load.
        adapters: What is asked about.
        asked: The questions.
        engines: Which others, of those here.
        exact: Our logits in float32, as `Comparison.scores`; of rounding, if there are any.

    Returns:
        The comparison, and figures of the whole.
    """
    holdings = _holdings(model, language_model)
    comparison = Comparison(tokenizer=AutoTokenizer.from_pretrained(language_model))
    chosen = {name: holdings[name] for name in holdings if name in ("bare", *engines)}
    theirs: dict[str, dict[Asked, str]] = {name: {} for name in chosen}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    deviations = []
    for clip, (weights, folder) in adapters.items():
        ids: dict[Asked, torch.Tensor] = {}
        logits: dict[Asked, tuple[torch.Tensor, int]] = {}
        for a in [a for a in asked if a[0] == clip]:
            said = model.ask(weights, a[1], decoding=Decoding(max_new_tokens=TOKENS))
            prompt, answer = prompt_ids(model.tokenizer, a[1]), comparison.words(said)[:-1]
            ids[a] = torch.tensor([prompt + answer])
            with weights.attached_to(model.language_model):
                ours = _logits(model.language_model, ids[a])
            logits[a] = ours, len(prompt) - 1
            comparison.ours[a], comparison.scores[a] = said, ours[len(prompt) - 1 :].clone()
            deviations.append(float(ours.std()))
        for name, holding in chosen.items():
            with holding(weights, folder) as holds_video:
                for a, (ours, start) in logits.items():
                    rows[name].append(apart(a, _logits(holds_video, ids[a]), ours, start))
                    theirs[name][a] = _answer(holds_video, comparison.tokenizer, a[1])
    for name in chosen:
        comparison.add(name, theirs[name], logits_apart=over_all(rows[name]))
    figures: dict[str, Any] = {
        "questions": len(asked),
        "adapters": len(adapters),
        "distinct_answers": len(set(comparison.ours.values())),
        "logits_standard_deviation": sum(deviations) / len(deviations),
        "answers": [
            {"video": a[0], "question": a[1], "answer": said} for a, said in comparison.ours.items()
        ],
    }
    scores = comparison.scores
    alike = [a for a in exact if exact[a].shape == scores[a].shape]
    if alike:
        figures["rounding"] = over_all([apart(a, scores[a], exact[a], 0) for a in alike])
    return comparison, figures


def _holdings(model: ViPE, folder: Path) -> dict[str, Holding]:
    """The engines: each lends the language model with a video in it."""
    dtype = model.language_model.dtype
    with quiet_transformers():
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @contextmanager
    def bare(weights: PerceptualWeights, adapter: Path) -> Iterator[Any]:
        yield base

    @contextmanager
    def merged(weights: PerceptualWeights, adapter: Path) -> Iterator[Any]:
        with weights.merge_into(model.language_model):
            yield model.language_model

    @contextmanager
    def peft(weights: PerceptualWeights, adapter: Path) -> Iterator[Any]:
        adapted = PeftModel.from_pretrained(base, str(adapter)).eval()
        yield adapted
        adapted.unload()

    return {"bare": bare, "merged": merged, "peft": peft}


@torch.inference_mode()
def _logits(language_model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits after every token, `(t, v)`."""
    return language_model(input_ids=ids, use_cache=False).logits[0].float()


@torch.inference_mode()
def _answer(language_model: Any, tokenizer: Any, question: str) -> str:
    """Ask greedily, as one does who has not ViPE (docs/peft.md)."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    tokens = language_model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)
    answer = tokens[0, prompt["input_ids"].shape[1] :]
    return str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
