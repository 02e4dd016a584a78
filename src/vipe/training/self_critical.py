"""Training, beside step 3: captions that the model says itself, rewarded by what people wrote.

Answers are else trained word by word, each after the right words before it. Here whole captions are
sampled, and those that score above the others of the same picture become likelier (self-critical
sequence training: Rennie et al., CVPR 2017, eq. 6; the mean of a picture's other samples is the
baseline, as in Luo, "A Better Variant of Self-Critical Sequence Training", 2020). Nothing is
learned by heart but what scores with the references.

Dimensions: c clips, k samples of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vipe.chat import prompt_around, prompt_ids
from vipe.data.clip import ClipSource
from vipe.errors import RecipeError
from vipe.tokens import SoftTokens
from vipe.training.batches import Batch
from vipe.training.language import Prompt, TrainingLanguageModel
from vipe.training.packing import Packer, Turn
from vipe.training.recipe import Rewarded
from vipe.training.rewards import CaptionReward, Reward
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def critic_of(
    rewarded: Rewarded, source: ClipSource, tokenizer: PreTrainedTokenizerBase
) -> SelfCritic:
    """Make the critic that a recipe asks for; n-grams are counted in the captions of its source.

    Raises:
        RecipeError: A clip has no caption.
    """
    corpus = []
    for index in range(len(source)):
        clip = source.clip(index)
        answers = [question.answers for question in clip.questions if question.kind == "caption"]
        if not answers:
            raise RecipeError(f"rewarded: clip {index} of the source has no caption")
        corpus.append(answers[0])
    return SelfCritic(
        CaptionReward(corpus, bleu=rewarded.bleu),
        Packer(tokenizer, rewarded.row_tokens),
        samples=rewarded.samples,
        temperature=rewarded.temperature,
        max_new_tokens=rewarded.max_new_tokens,
        weight=rewarded.weight,
    )


class SelfCritic:
    """Samples captions of the pictures of a batch, and makes the better ones likelier.

    Args:
        reward: Scores them.
        packer: Packs the samples of a picture into its row; `row_tokens` is then their length.
        samples: k of each picture.
        temperature: What logits are divided by: the policy that is sampled, and that learns, is the
            model's at this temperature.
        max_new_tokens: Of a sample.
        weight: Of the loss.
    """

    def __init__(
        self,
        reward: Reward,
        packer: Packer,
        *,
        samples: int,
        temperature: float,
        max_new_tokens: int,
        weight: float = 1.0,
    ) -> None:
        if samples < 2:
            raise ValueError("samples: one has no others to be compared with")
        self.reward, self.samples, self.max_new_tokens = reward, samples, max_new_tokens
        self.packer, self.temperature, self.weight = packer, temperature, weight

    def __call__(
        self,
        language: TrainingLanguageModel,
        weights: PerceptualWeights | None,
        batch: Batch,
        visual: SoftTokens | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Return the loss and the mean reward.

        Args:
            language: The language model.
            weights: Of each clip of the batch, or of all.
            batch: The first turn of each row is the one whose answers are the references.
            visual: Tokens of each clip, where the language model reads them.
        """
        asked = [turns[0] for turns in batch.rows.turns]
        prompts = self._prompts(language, asked, visual)
        with language.attached(weights):
            said = language.sample(
                self.packer.tokenizer,
                [prompt for prompt in prompts for _ in range(self.samples)],
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                seed=batch.place,
            )
        references = [turn.answers for turn in asked for _ in range(self.samples)]
        rewards = self.reward(said, references).view(-1, self.samples)
        groups = [said[i : i + self.samples] for i in range(0, len(said), self.samples)]
        rows = self.packer.pack(
            [
                [Turn(question=turn.question, answer=text, kind=turn.kind) for text in texts]
                for turn, texts in zip(asked, groups, strict=True)
            ]
        )
        # A row may be too short for the last of its samples; samples that are alike gain alike.
        gains = [
            dict(zip(texts, gain, strict=True))
            for texts, gain in zip(groups, advantages(rewards).tolist(), strict=True)
        ]
        gain = [
            of[turn.answer] for of, turns in zip(gains, rows.turns, strict=True) for turn in turns
        ]
        with language.attached(weights):
            logits, labels = language(rows, visual)
        each = F.cross_entropy(logits / self.temperature, labels, reduction="none")
        loss = (each * each.new_tensor(gain)[rows.answered()]).mean()
        return self.weight * loss, {"reward": rewards.mean().item()}

    def _prompts(
        self, language: TrainingLanguageModel, asked: Sequence[Turn], visual: SoftTokens | None
    ) -> Sequence[Prompt]:
        tokenizer = self.packer.tokenizer
        if visual is None:
            return [prompt_ids(tokenizer, turn.question) for turn in asked]
        return [
            language.embed(*prompt_around(tokenizer, turn.question), values[present].detach())
            for turn, values, present in zip(asked, visual.values, visual.present, strict=True)
        ]


def advantages(rewards: Float[Tensor, "c k"]) -> Float[Tensor, "c k"]:
    """Return by how much each sample is better than the mean of the clip's others.

    Those of a clip sum to zero: where all are alike, nothing is learned.
    """
    samples = rewards.shape[1]
    return rewards - (rewards.sum(dim=1, keepdim=True) - rewards) / (samples - 1)
