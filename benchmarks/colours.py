"""How much of a patch's colour is left in an encoder's features, level by level.

    python benchmarks/colours.py TAR [--levels 3,4 0,3,4] [--photographs 500]

A ridge regression is fitted from the features of each patch to its mean colour, on four fifths of
the photographs, and R² is taken on the others: of red, green and blue ("rgb"), and of what is left
of them without brightness ("chroma": red less green, blue less the mean of both). Printed as one
JSON object. docs/decisions/0014 has what follows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vipe.data.photographs import PhotographSource
from vipe.encoders import TimmEncoderConfig
from vipe.frames import Frames

_BATCH = 32
_RIDGE = 1.0


def chroma(colours: Tensor) -> Tensor:
    red, green, blue = colours.unbind(-1)
    return torch.stack([red - green, blue - (red + green) / 2], dim=-1)


def r2(found: Tensor, right: Tensor) -> float:
    wrong, spread = (found - right).square().sum(0), (right - right.mean(0)).square().sum(0)
    return round((1 - wrong / spread).mean().item(), 3)


def fitted(features: Tensor, colours: Tensor) -> dict[str, float]:
    """R² on the last fifth of photographs of a ridge that is fitted on the others."""
    start = len(features) * 4 // 5
    x, y = (part[:start].flatten(0, 1).double() for part in (features, colours))
    new_x, new_y = (part[start:].flatten(0, 1).double() for part in (features, colours))
    centre_x, centre_y = x.mean(0), y.mean(0)
    square = (x - centre_x).T @ (x - centre_x) + _RIDGE * torch.eye(x.shape[1])
    weight = torch.linalg.solve(square, (x - centre_x).T @ (y - centre_y))
    found = (new_x - centre_x) @ weight + centre_y
    return {"rgb": r2(found, new_y), "chroma": r2(chroma(found), chroma(new_y))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tar", type=Path)
    parser.add_argument("--levels", nargs="+", default=["3,4", "2,3,4", "1,3,4", "0,3,4"])
    parser.add_argument("--photographs", type=int, default=500)
    options = parser.parse_args()
    source = PhotographSource([options.tar])
    names = source.photographs.names[: options.photographs]
    pixels = torch.cat([source.render(f"photo/{name}").pixels for name in names])
    result = {}
    for levels in options.levels:
        encoder = TimmEncoderConfig(levels=tuple(map(int, levels.split(",")))).build()
        parts = [
            encoder.encode(Frames(pixels=part, seconds=torch.arange(len(part)).float())).features
            for part in pixels.split(_BATCH)
        ]
        colours = F.adaptive_avg_pool2d(pixels.float(), encoder.grid).flatten(2).mT
        result[levels] = {"channels": encoder.channels, **fitted(torch.cat(parts), colours)}
    print(json.dumps({"photographs": len(names), "levels": result}, indent=2))


if __name__ == "__main__":
    main()
