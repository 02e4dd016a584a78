"""Training, the recipe: one YAML file says all of a run (`vipe.training.recipe_files` reads it)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vipe.config import ViPEConfig
from vipe.tokens import Reads
from vipe.training.segments import Segments
from vipe.training.sources import Part, Source
from vipe.training.tuning import Frozen, Lora, Tuning, Whole

MergeRatios = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)]


class Share(Part):
    """A source, and how many clips of every batch are its own.

    Attributes:
        gist_clips: Of the batches that teach the gist alone, where a clip costs a fraction; as
            many as `clips` by default.
        rows: The kinds of questions that its rows for the language model hold; None for all. The
            words of all answers are in the alignment losses.
    """

    clips: int = Field(ge=1)
    gist_clips: int | None = Field(default=None, ge=1)
    rows: tuple[str, ...] | None = None
    source: Source


class Optimizer(Part):
    """AdamW (Loshchilov and Hutter, ICLR 2019) with warm-up, then a cosine down to `final`.

    Attributes:
        heads: The learning rate of the factors and of what decides them, as a multiple of all
            else's: it starts when the rest has learned (after Hayou et al., LoRA+, ICML 2024).
        shared: The same of what a binding writes through all layers alike: a small step of it in
            each layer is a large one of the model.
        static: The same of the static LoRA.
        recollection: The same of the recollection.
        factor: The same of the factor that all videos share: were it to change quickly, the keys of
            a binding would no longer match what it reads.
    """

    steps: int = Field(ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    heads: float = Field(default=1.0, gt=0)
    shared: float = Field(default=1.0, gt=0)
    static: float = Field(default=1.0, gt=0)
    recollection: float = Field(default=1.0, gt=0)
    factor: float = Field(default=1.0, gt=0)
    warmup: int = Field(default=50, ge=0)
    final: float = Field(default=0.02, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = Field(default=1.0, gt=0)


class Alignment(Part):
    """The alignment losses (`vipe.training.alignment`), which come before the language model.

    Attributes:
        gist_steps: Steps that teach the gist of a video alone.
        gist_learning_rate: Of those, with a warm-up and a cosine of their own.
        steps: Steps after them that teach the slots.
        weight: Of the slots' losses beside the language model's, after that.
        gist_weight: Of the gist's losses beside the language model's, on `gist_clips` of their
            own: the language model's few clips would wear down what the gist has learned.
        words: Whether the gist's losses are of the words of answers, beside the concepts. What
            reads words starts afresh with every run: where the gist is learned already, it
            disturbs more than it teaches.
        keys: Whether the keys and values of concepts start, where the language model comes in,
            from what it asks with and says (`vipe.training.keys`), and tags from directions that
            the static LoRA reads (`vipe.training.tags`). Not for a run that goes on from a model
            that has learned them.
        merge_ratios: One is drawn for each step before the language model; the more is merged, the
            faster.
    """

    gist_steps: int = Field(default=0, ge=0)
    gist_learning_rate: float = Field(default=1e-3, gt=0)
    steps: int = Field(default=0, ge=0)
    weight: float = Field(default=0.0, ge=0)
    gist_weight: float = Field(default=0.0, ge=0)
    words: bool = True
    keys: bool = False
    merge_ratios: MergeRatios = (0.8,)

    @property
    def before(self) -> int:
        """Steps before the language model comes in."""
        return self.gist_steps + self.steps

    @property
    def of_slots(self) -> bool:
        """Whether any step has the slots' losses."""
        return self.steps > 0 or self.weight > 0


class Evaluation(Part):
    """What is held out, and how often it is looked at.

    Attributes:
        clips: Of each source.
        rows: The kinds of questions that are asked; None for all.
    """

    every: int = Field(default=200, ge=1)
    clips: int = Field(default=96, ge=1)
    rows: tuple[str, ...] | None = None
    sources: dict[str, Source] = Field(default_factory=dict)


class Rewarded(Part):
    """Captions that are sampled and rewarded (`vipe.training.self_critical`), beside the answers.

    Attributes:
        source: Of clips that each have a caption, with all that people wrote of it.
        clips: Of every batch.
        samples: Captions of each clip.
        temperature: At which they are sampled. The smaller a model, the more of what it samples
            at 1 is worth nothing beside what it says when it is asked.
        weight: Of the loss.
        bleu: What BLEU-4 counts in a reward, beside CIDEr-D.
        max_new_tokens: Of a sample.
        row_tokens: Tokens of a row, for the samples of a clip; those that do not fit are left out.
    """

    source: Source
    clips: int = Field(ge=1)
    samples: int = Field(default=5, ge=2)
    temperature: float = Field(default=0.6, gt=0)
    weight: float = Field(default=1.0, gt=0)
    bleu: float = Field(default=1.0, ge=0)
    max_new_tokens: int = Field(default=24, ge=1)
    row_tokens: int = Field(default=160, ge=1)


class Recipe(Part):
    """One training run.

    Attributes:
        name: Names the run's folder below `runs`.
        method: "vipe" writes a video into weights; "tokens" is its twin, which reads the video as
            tokens and has no gist and no slots to align: of its `alignment` only `steps` count,
            which train the projector alone, before the LoRA (LLaVA's first stage).
        reads: What becomes a token of the twin's.
        model: The model's config, as in a model folder's `config.json`.
        start: A model folder whose weights are the start, or "default"; None starts afresh.
        start_only: Which parts of `start` are taken ("injection", "perception.static_lora"), as far
            as the model has them; all else starts afresh. A mapping says what they are called in
            the model: {injection: projector.injection} for a twin. Everything by default, which
            then has to fit.
        only: Which parts learn ("perception.recollection"); all others stay as `start` has them.
            All do unless given.
        data: Folder below which sources lie; relative to where the command runs.
        cache: Where the encoder's features are kept; None for the user's cache.
        runs: Where the run's folder is made.
        sources: What is trained on.
        held_out: What is evaluated on as it goes.
        language_model: What is tuned of the language model itself, and after how many steps.
        optimizer: How.
        alignment: The losses that need no language model, and the steps that have them alone.
        segments: Which clips the language model's steps see in segments that are composed.
        rewarded: Of which clips captions are sampled and rewarded; None for none.
        row_tokens: Tokens of a row (the turns of one clip).
        merge_ratios: One is drawn for each batch.
        precision: What the language model computes in; "auto" for what this machine is quickest
            in. In bfloat16, what is trained is multiplied in it too.
        compile: Whether the language model's layers are compiled.
        checkpoint_every: Steps between two checkpoints.
        accumulate: Micro-batches of a step, in each process; every one is of all `clips`.
        shard: Whether processes hold parts of the model in place of copies (FSDP2).
        workers: Processes beside each of these that render what is not in the cache, and make
            batches ahead; 0 for a thread, which is enough where the CPU trains. A GPU that takes
            a tenth of a second for a step needs a dozen.
        seed: Draws weights, order and answers.
    """

    name: str
    method: Literal["vipe", "tokens"] = "vipe"
    reads: Reads = "merged"
    model: dict[str, Any] = Field(default_factory=dict)
    start: str | None = None
    start_only: dict[str, str] = Field(default_factory=dict)
    only: tuple[str, ...] = ()
    data: Path = Path("data")
    cache: Path | None = None
    runs: Path = Path("runs")
    sources: tuple[Share, ...] = Field(min_length=1)
    held_out: Evaluation = Evaluation()
    language_model: Tuning = Frozen()
    optimizer: Optimizer
    alignment: Alignment = Alignment()
    segments: Segments = Segments()
    rewarded: Rewarded | None = None
    row_tokens: int = Field(default=128, ge=1)
    merge_ratios: MergeRatios = (0.5,)
    precision: Literal["float32", "bfloat16", "int8", "auto"] = "float32"
    compile: bool = False
    checkpoint_every: int = Field(default=50, ge=1)
    accumulate: int = Field(default=1, ge=1)
    shard: bool = False
    workers: int = Field(default=0, ge=0)
    seed: int = 0

    @field_validator("start_only", mode="before")
    @classmethod
    def _named_alike(cls, value: object) -> object:
        return {name: name for name in value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _fits_its_method(self) -> Recipe:
        alignment = self.alignment
        if self.method == "tokens" and (
            alignment.gist_steps or alignment.weight or alignment.gist_weight
        ):
            raise ValueError("alignment: a model that reads tokens has no gist and no slots")
        if self.method == "tokens" and self.segments.summed:
            raise ValueError("segments: summed: a model that reads tokens writes no weights")
        if self.rewarded and self.shard:
            raise ValueError("rewarded: processes that sample need the model whole, not shard")
        if isinstance(self.language_model, Whole) and self.precision == "int8":
            raise ValueError("precision: a language model in int8 cannot be tuned")
        if "lora" in self.model:
            raise ValueError("model.lora: a recipe says it as language_model: {tuned: lora}")
        return self

    @property
    def of_patches(self) -> bool:
        """Whether every patch is a token, and nothing merges."""
        return self.method == "tokens" and self.reads == "patches"

    @property
    def config(self) -> ViPEConfig:
        """The model's config."""
        tuning = self.language_model
        config = ViPEConfig.from_dict(self.model)
        return replace(config, lora=tuning.config) if isinstance(tuning, Lora) else config

    @property
    def tuned_after(self) -> int | None:
        """Steps before the language model itself is tuned; None where it never is."""
        tuning = self.language_model
        if isinstance(tuning, Frozen):
            return None
        return max(tuning.after, self.alignment.before)

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return self.runs / self.name
