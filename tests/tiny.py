"""Small things that many tests need: frames, tokens, an encoder of colours, a source of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.data.clip import Clip, Question, Shot, Sighting
from vipe.encoders import Encoder, PatchFeatures, TimmEncoderConfig
from vipe.encoders.encoder import patch_positions
from vipe.frames import Frames
from vipe.merging import VisualTokens

COLOURS = {
    "red": (230, 20, 20),
    "green": (20, 220, 30),
    "blue": (25, 30, 240),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "yellow": (240, 240, 20),
}


def frames(count: int = 5, *, size: int = 32, duration: float | None = None) -> Frames:
    """Random frames, two a second."""
    return Frames(
        pixels=torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8),
        seconds=(torch.arange(count) + 0.5) * 0.5,
        duration=count * 0.5 if duration is None else duration,
    )


def patches(
    videos: int = 1,
    count: int = 4,
    *,
    grid: int = 3,
    channels: int = 8,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random features `(b, t, n, c)`, the patches' positions, and the videos' durations."""
    seconds = (torch.arange(count) + 0.5) * 0.5
    position = patch_positions(seconds, grid).to(dtype).expand(videos, -1, -1, -1)
    features = torch.randn(videos, count, grid**2, channels, dtype=dtype)
    return features, position, torch.full((videos,), count * 0.5, dtype=dtype)


def tokens(
    videos: int = 1,
    count: int = 6,
    *,
    channels: int = 8,
    dtype: torch.dtype = torch.float32,
) -> VisualTokens:
    """Random visual tokens of one to nine patches each."""
    return VisualTokens(
        features=torch.randn(videos, count, channels, dtype=dtype),
        size=torch.randint(1, 10, (videos, count)).to(dtype),
        centre=torch.rand(videos, count, 3, dtype=dtype),
        duration=1 + torch.rand(videos, dtype=dtype),
    )


class ColourEncoder(Encoder):
    """Mean colours of a 2 × 2 grid through a fixed matrix; counts what it encodes."""

    def __init__(self, **settings: Any) -> None:
        config = TimmEncoderConfig(
            **{"name": "colours", "batch_size": 4, "dtype": "float32"} | settings
        )
        super().__init__(
            config,
            nn.Identity(),
            channels=6,
            grid=2,
            image_size=8,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        )
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("matrix", torch.randn(3, 6, generator=generator))
        self.encoded, self.batches = 0, 0

    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        colours = F.adaptive_avg_pool2d(images, self.grid).flatten(2).transpose(1, 2)
        return colours @ self.get_buffer("matrix")

    def encode(self, frames: Frames) -> PatchFeatures:
        self.encoded += len(frames)
        self.batches += 1
        return super().encode(frames)


class ColourClips:
    """A `ClipSource` in memory: one plain colour after another, and what can be asked of them.

    Clip i shows colour i for `stills[i % len(stills)]` frames; every third clip shows two colours.
    """

    def __init__(
        self, names: Sequence[str] = tuple(COLOURS), *, stills: Sequence[int] = (1, 2, 4)
    ) -> None:
        self.names, self.stills = list(names), list(stills)
        self.rendered: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def clip(self, index: int, epoch: int = 0) -> Clip:
        shown = [self.names[index]]
        if index % 3 == 2:
            shown.append(self.names[(index + 1) % len(self.names)])
        count = self.stills[index % len(self.stills)]
        shots = tuple(
            Shot(
                key=f"plain/{name}",
                index=tuple(i % 2 for i in range(count)),
                seconds=tuple(0.5 * (place * count + i) + 0.25 for i in range(count)),
            )
            for place, name in enumerate(shown)
        )
        first = shown[0]
        questions = (
            Question(text="What colour is it?", answers=(first, f"It is {first}"), kind="colour"),
            Question(
                text=f"Is it {first}?",
                answers=("yes",),
                kind="presence",
                accept=("yes",),
                about=first,
            ),
            Question(
                text="Is it pink?", answers=("no",), kind="presence", accept=("no",), about="pink"
            ),
            Question(text="Describe it.", answers=(f"a {first} film",), kind="caption"),
            Question(text="Which pass?", answers=(str(epoch),), kind="pass"),
        )
        return Clip(shots=shots, questions=questions)

    def keys(self) -> list[str]:
        return [f"plain/{name}" for name in self.names]

    def render(self, key: str) -> Frames:
        """Two frames of eight pixels a side; the second is a little darker."""
        self.rendered.append(key)
        colour = torch.tensor(COLOURS[key.removeprefix("plain/")], dtype=torch.uint8)
        bright = colour[:, None, None].expand(3, 8, 8)
        return Frames(pixels=torch.stack([bright, bright // 2]), seconds=torch.tensor([0.0, 1.0]))


class Quiet:
    """An observer of training that says nothing."""

    def encoding(self, done: int, total: int) -> None: ...
    def step(self, step: int, total: int, values: dict[str, float]) -> None: ...
    def evaluated(self, step: int, values: dict[str, float]) -> None: ...


class ToldClips(ColourClips):
    """Colours whose source knows when and where they are seen."""

    def clip(self, index: int, epoch: int = 0) -> Clip:
        clip = super().clip(index, epoch)
        count = len(clip.shots)
        seen = tuple(
            Sighting(
                thing=shot.key.rsplit("/", 1)[-1],
                start=place / count,
                end=(place + 1) / count,
                centre=(0.5, 0.5),
            )
            for place, shot in enumerate(clip.shots)
        )
        return replace(clip, sightings=seen)
