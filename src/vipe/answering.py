"""Stage 7 of the flow, a question → its answer, under the weights of what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vipe.chat import Message, prompt_ids
from vipe.generation import Decoding, TextStream, generate, iterate
from vipe.scoring import log_likelihoods
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Question = str | Sequence[Message]


class Answers:
    """What a model can be asked: the second verb of `vipe.model.ViPE`.

    Attributes:
        language_model: The frozen language model.
        tokenizer: The language model's tokenizer, with its chat template.
    """

    language_model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def ask(
        self, seen: PerceptualWeights, question: Question, *, decoding: Decoding | None = None
    ) -> str:
        """Answer a question about one video; there is no visual token in the prompt.

        Args:
            seen: What `see` returned, or a loaded adapter.
            question: The question, or the turns of a conversation that ends with one.
            decoding: How; greedy unless given.

        Raises:
            AdapterError: `seen` was made for another language model.
        """
        return self.ask_batch(seen, [question], decoding=decoding)[0]

    def ask_batch(
        self,
        seen: PerceptualWeights | Sequence[PerceptualWeights],
        questions: Sequence[Question],
        *,
        decoding: Decoding | None = None,
    ) -> list[str]:
        """Answer one question for each video of a batch, or several about the one video.

        Args:
            seen: A batch, one video, or a list of single ones.
            questions: As many as videos, or any number about one video.
            decoding: How; greedy unless given.

        Raises:
            AdapterError: `seen` was made for another language model.
            ValueError: There are more or fewer videos than questions.
        """
        if not isinstance(seen, PerceptualWeights):
            seen = PerceptualWeights.batch(seen)
        if seen.is_batched and len(seen) != len(questions):
            raise ValueError(f"{len(seen)} videos but {len(questions)} questions")
        prompts = [prompt_ids(self.tokenizer, question) for question in questions]
        with seen.attached_to(self.language_model):
            return generate(self.language_model, self.tokenizer, prompts, decoding or Decoding())

    def score(
        self, seen: PerceptualWeights, question: Question, answers: Sequence[str]
    ) -> list[float]:
        """Return how likely each of some answers to a question about one video is.

        Args:
            seen: What `see` returned, or a loaded adapter.
            question: The question, or the turns of a conversation that ends with one.
            answers: Any texts.

        Returns:
            log p(answer) of each, in nats, the end of the answer included.

        Raises:
            AdapterError: `seen` was made for another language model.
            ValueError: There is more than one video.
        """
        if len(seen) != 1:
            raise ValueError(f"{len(seen)} videos but 1 question")
        prompts = [prompt_ids(self.tokenizer, question)] * len(answers)
        one = seen[0] if seen.is_batched else seen
        with one.attached_to(self.language_model):
            return log_likelihoods(self.language_model, self.tokenizer, prompts, answers).tolist()

    def stream(
        self, seen: PerceptualWeights, question: Question, *, decoding: Decoding | None = None
    ) -> Iterator[str]:
        """Answer a question about one video, piece by piece as it is decoded.

        Raises:
            AdapterError: `seen` was made for another language model.
            ValueError: There is more than one video, or the decoding is a beam search, which
                knows its answer only at the end.
        """
        decoding = decoding or Decoding()
        if decoding.num_beams > 1:
            raise ValueError("a beam search cannot be streamed")
        if len(seen) != 1:
            raise ValueError(f"{len(seen)} videos but 1 question")
        seen.check_fits(self.language_model)
        prompt = prompt_ids(self.tokenizer, question)

        def run(on_text: Callable[[str], None]) -> None:
            streamer = TextStream(self.tokenizer, on_text)
            with seen.attached_to(self.language_model):
                generate(self.language_model, self.tokenizer, [prompt], decoding, streamer=streamer)

        return iterate(run)
