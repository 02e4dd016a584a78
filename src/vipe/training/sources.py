"""Training, the sources that a recipe names: each opens as a `ClipSource` (`vipe.data.clip`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vipe.data.clip import ClipSource
from vipe.errors import RecipeError


class Part(BaseModel):
    """A part of a recipe: what it does not know is an error, and it does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SceneKind = Literal["still", "move", "change", "pair", "several", "copies", "sequence"]


class Scenes(Part):
    """Generated scenes, by seed, photographs (if any are named) among their backgrounds.

    Attributes:
        kinds: Only the scenes of these kinds ("still", "move", …); `count` is before the choice.
        things: Only scenes whose pictures are all among so many, evenly spread over the table of
            pictures (`vipe.data.pictures`): for a quick experiment.
        passes: Questions of how many passes are asked of a clip at once.
        compressed: Share of the scenes whose frames went through a lossy compression.
    """

    kind: Literal["scenes"] = "scenes"
    kinds: tuple[SceneKind, ...] | None = None
    things: int | None = Field(default=None, ge=1)
    first_seed: int = 0
    count: int = 5000
    photographs: str | None = None
    styles: tuple[str, ...] = ("openmoji", "fluent")
    passes: int = Field(default=1, ge=1)
    compressed: float = Field(default=0.0, ge=0, le=1)

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.photographs import photograph_images
        from vipe.data.pictures import pictures
        from vipe.data.scene_sampling import sample_scene, scene_kind
        from vipe.data.scene_source import SceneSource

        seeds: Sequence[int] = range(self.first_seed, self.first_seed + self.count)
        if self.kinds is not None:
            seeds = [seed for seed in seeds if scene_kind(seed) in self.kinds]
        if self.things is not None:
            table = list(pictures())
            names = {table[i * len(table) // self.things] for i in range(self.things)}
            over = self.photographs is not None
            seeds = [
                seed
                for seed in seeds
                if names.issuperset(
                    actor.name
                    for actor in sample_scene(seed, self.styles, with_photographs=over).actors
                )
            ]
        if self.photographs is None:
            return SceneSource(
                seeds,
                size=size,
                styles=self.styles,
                passes=self.passes,
                compressed=self.compressed,
            )
        tars = matching(data, self.photographs)
        name = Path(self.photographs).parent.name + "-" + Path(self.photographs).stem.rstrip("-*")
        return SceneSource(
            seeds,
            size=size,
            styles=self.styles,
            photographs=photograph_images(tars),
            photographs_name=name,
            passes=self.passes,
            compressed=self.compressed,
        )


class SceneJoins(Scenes):
    """Scenes of one picture each, shown one after another; the same seeds as `Scenes`."""

    kind: Literal["scene_joins"] = "scene_joins"  # type: ignore[assignment]
    clips: int = 5000

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.scene_joins import SceneJoins as Source

        return Source(super().build(data, size=size), self.clips)  # type: ignore[arg-type]


class SceneTimes(SceneJoins):
    """Scenes of one picture each over some seconds or many minutes, asked about time.

    Attributes:
        lengths: The shortest and the longest, in seconds.
    """

    kind: Literal["scene_times"] = "scene_times"  # type: ignore[assignment]
    lengths: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (4.0, 600.0)

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.scene_times import SceneTimes as Source

        scenes = Scenes.build(self, data, size=size)
        return Source(scenes, self.clips, self.lengths)  # type: ignore[arg-type]


LongKind = Literal["needle", "order", "repeats", "chapters"]


class LongScenes(Scenes):
    """Long videos out of scenes, of which some shots are merged and the others recognised only.

    Scenes before photographs are left out.

    Attributes:
        clips: Of one pass.
        lengths: The shortest and the longest, in frames, of which there are two a second.
        most: Frames that are merged.
        videos: Which kinds of long videos there are, each as often.
    """

    kind: Literal["scene_long"] = "scene_long"  # type: ignore[assignment]
    clips: int = 5000
    lengths: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = (8, 10_000)
    most: int = Field(default=96, ge=32)
    videos: tuple[LongKind, ...] = Field(
        default=("needle", "order", "repeats", "chapters"), min_length=1
    )

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.long_source import LongSource

        scenes = super().build(data, size=size)
        return LongSource(
            scenes,  # type: ignore[arg-type]
            self.clips,
            self.lengths,
            self.most,
            self.videos,
        )


class ScenePairs(SceneJoins):
    """Two scenes as two videos, which are seen by themselves and composed."""

    kind: Literal["scene_pairs"] = "scene_pairs"  # type: ignore[assignment]

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.scene_pairs import ScenePairs as Source

        return Source(Scenes.build(self, data, size=size), self.clips)  # type: ignore[arg-type]


class Photographs(Part):
    """Captioned photographs as clips; the fields are those of `PhotographSource`."""

    kind: Literal["photographs"] = "photographs"
    tars: str
    moving: float = 0.25
    sequences: float = 0.2
    crops: int = Field(default=2, ge=2)
    cropped: float = Field(default=0.2, ge=0, le=1)
    captions: int = Field(default=1, ge=1)
    seed: int = 0

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.photographs import PhotographSource

        return PhotographSource(
            matching(data, self.tars),
            seed=self.seed,
            size=size,
            moving=self.moving,
            sequences=self.sequences,
            crops=self.crops,
            cropped=self.cropped,
            captions=self.captions,
        )


class Conversations(Part):
    """Videos and pictures with conversations (LLaVA's JSON) or questions (JSONL).

    Attributes:
        files: The JSON or JSONL files.
        folder: Where what they show lies; each file's own folder unless given.
    """

    kind: Literal["conversations"] = "conversations"
    files: str
    folder: str | None = None

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.conversations import read_conversations
        from vipe.data.records import RecordSource

        folder = None if self.folder is None else data / self.folder
        records = read_conversations(matching(data, self.files), folder)
        return RecordSource(records, frames=frames, size=size)


class WebDataset(Part):
    """Videos and pictures in WebDataset tars, with captions, questions or conversations."""

    kind: Literal["webdataset"] = "webdataset"
    tars: str

    def build(self, data: Path, *, frames: int = 8, size: int = 224) -> ClipSource:
        """Open the source; paths are relative to the data folder."""
        from vipe.data.records import RecordSource
        from vipe.data.webdataset import read_tars

        return RecordSource(read_tars(matching(data, self.tars)), frames=frames, size=size)


Source = Annotated[
    Scenes
    | SceneJoins
    | SceneTimes
    | LongScenes
    | ScenePairs
    | Photographs
    | Conversations
    | WebDataset,
    Field(discriminator="kind"),
]


def matching(data: Path, pattern: str) -> list[Path]:
    """Return the files below `data` that match, sorted.

    Raises:
        RecipeError: None does.
    """
    found = sorted(data.glob(pattern))
    if not found:
        raise RecipeError(f"{data / pattern}: no such files")
    return found
