"""Integration, lmms-eval: the model that `lmms-eval --model vipe` runs.

A request's `args` are the question, what is wanted, `doc_to_visual`, and last the document's
number, task and split. lmms-eval looks up `is_simple` and the three methods of requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms
from tqdm import tqdm

from vipe.errors import VideoError
from vipe.generation import Decoding
from vipe.integrations.lmms_eval import media
from vipe.integrations.lmms_eval.arguments import batch_size_of, decoding_of, dtype_of, until
from vipe.model import ViPE
from vipe.weights import PerceptualWeights


class LmmsViPE(lmms):
    """ViPE as a model of lmms-eval.

    Each video is seen once, whatever the order of the questions; those of several videos are
    decoded together. A question without any video is answered by the bare language model.

    Args:
        pretrained: A model folder or a hub id; the default model unless given.
        device: Where to; what accelerate chooses unless given.
        dtype: Of the language model.
        frames: Frames sampled from each video; the model's number unless given.
        merge_ratio: Share of visual tokens merged away; the model's unless given.
        batch_size: Answers decoded at once, or "auto".

    Raises:
        ModelError: The model is nowhere to be found.
        ValueError: An argument is not what it must be.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "default",
        device: str | None = None,
        dtype: str = "auto",
        frames: int | None = None,
        merge_ratio: float | int | None = None,
        batch_size: int | str = 1,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size_of(batch_size)
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        self.device = self.accelerator.device if device is None else device
        self.model = ViPE.from_pretrained(
            str(pretrained), device=self.device, dtype=dtype_of(str(dtype))
        )
        self.frames = self.model.config.frames if frames is None else frames
        self.merge_ratio = None if merge_ratio is None else float(merge_ratio)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer questions; `args[1]` are the generation settings."""
        answers: dict[int, str] = {}
        waiting: dict[Decoding, list[tuple[int, PerceptualWeights]]] = defaultdict(list)

        def answer(decoding: Decoding) -> None:
            batch = waiting.pop(decoding)
            texts = self.model.ask_batch(
                PerceptualWeights.batch(weights for _, weights in batch),
                [requests[place].args[0] for place, _ in batch],
                decoding=decoding,
            )
            for (place, _), text in zip(batch, texts, strict=True):
                answers[place] = until(text, requests[place].args[1].get("until"))

        for weights, places in self._seen(requests):
            for place in places:
                decoding = decoding_of(requests[place].args[1])
                waiting[decoding].append((place, weights))
                if len(waiting[decoding]) == self.batch_size:
                    answer(decoding)
        for decoding in list(waiting):
            answer(decoding)
        return [answers[place] for place in range(len(requests))]

    def loglikelihood(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """Score answers; `args[1]` is the answer, or what gives a document's.

        Returns:
            Of each a pair: −log p(answer) in nats, the answer's end included, and whether it is
            the one that is decoded greedily. As losses, in spite of the method's name: lmms-eval
            chooses the smallest.
        """
        pairs: dict[int, tuple[float, bool]] = {}
        for weights, places in self._seen(requests):
            questions: dict[str, list[int]] = defaultdict(list)
            for place in places:
                questions[requests[place].args[0]].append(place)
            for question, asked in questions.items():
                answers = [self._answer(requests[place]) for place in asked]
                scores = self.model.score(weights, question, answers)
                said = self.model.ask(weights, question, decoding=self._as_long_as(answers))
                for place, answer, score in zip(asked, answers, scores, strict=True):
                    pairs[place] = (-score, said == answer)
        # Not as bare pairs: of these lmms-eval 0.7 makes texts.
        return [GenerationResult(text=pairs[place]) for place in range(len(requests))]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[list[str]]:
        """Answer questions of which each follows from the answers before it.

        `args[1]` are the generation settings; `args[3]` gives the next question and its video, or
        says that it was the last. A question knows of the earlier ones what its text says.
        """
        return [self._rounds(*request.args) for request in tqdm(requests, disable=self.rank != 0)]

    def _rounds(
        self,
        question: str,
        settings: Mapping[str, Any],
        doc_to_visual: Callable[[Any], Any],
        doc_to_text: Callable[..., Any],
        *where: Hashable,
    ) -> list[str]:
        document = self._document(where)
        answers: list[str] = []
        visuals, notes, done = doc_to_visual(document), None, False
        while not done:
            weights = self._see(self._shown(visuals, where), where)
            text = self.model.ask(weights, question, decoding=decoding_of(settings))
            answers = [*answers, until(text, settings.get("until"))]
            visuals, question, done, answers, notes = doc_to_text(
                document,
                previous_output=answers,
                round_idx=len(answers),
                previous_round_info=notes,
            )
        return list(answers)

    def _seen(self, requests: Sequence[Any]) -> Iterator[tuple[PerceptualWeights, list[int]]]:
        """Yield what each video became, with the places of the requests about it.

        Raises:
            VideoError: One is missing (before any is seen), or cannot be read.
        """
        documents: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            documents[request.args[-3:]].append(place)
        videos: dict[Hashable, list[int]] = defaultdict(list)
        for where, places in documents.items():
            # Pictures are not kept: there may be many, and are asked for again when seen.
            showing = self._shown_by(requests[places[0]])
            videos[showing if isinstance(showing, Path) else where] += places
        for places in tqdm(videos.values(), desc="Seeing and answering", disable=self.rank != 0):
            first = requests[places[0]]
            yield self._see(self._shown_by(first), first.args[-3:]), places

    def _shown_by(self, request: Any) -> media.Shown:
        where = request.args[-3:]
        return self._shown(request.args[2](self._document(where)), where)

    def _shown(self, visuals: Any, where: tuple[Hashable, ...]) -> media.Shown:
        with _named(where):
            showing = media.shown(visuals)
            if isinstance(showing, Path) and not showing.exists():
                raise VideoError(f"shows {showing}: no such file or folder")
        return showing

    def _see(self, showing: media.Shown, where: tuple[Hashable, ...]) -> PerceptualWeights:
        size = self.model.encoder.image_size
        if showing is None:
            blank = self.model.see(media.blank(size))
            # Nothing of it, not even what is alike for all videos, which a multiple would keep.
            return 0 * replace(blank, static=None, tokens=())
        with _named(where):
            video = (
                showing
                if isinstance(showing, Path)
                else media.pictures(showing, frames=self.frames, size=size)
            )
            return self.model.see(video, frames=self.frames, merge_ratio=self.merge_ratio)

    def _document(self, where: Sequence[Hashable]) -> Any:
        number, task, split = where
        return self.task_dict[task][split][number]

    def _answer(self, request: Any) -> str:
        """The answer to score; an answer is a turn of its own, so no white space is before it."""
        wanted = request.args[1]
        text = wanted(self._document(request.args[-3:])) if callable(wanted) else wanted
        return str(text).strip()

    def _as_long_as(self, answers: Sequence[str]) -> Decoding:
        longest = max(len(self.model.tokenizer(text).input_ids) for text in answers)
        return Decoding(max_new_tokens=longest + 1)


@contextmanager
def _named(where: tuple[Hashable, ...]) -> Iterator[None]:
    """Name the document in errors about its video."""
    try:
        yield
    except VideoError as error:
        number, task, _ = where
        raise VideoError(f"{task}, document {number}: {error}") from error
