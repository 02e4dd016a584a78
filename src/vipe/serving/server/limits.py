"""How much a server takes from anyone: of a video, of a request, of time, and at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits of a server. What is above one is refused before the work begins.

    Attributes:
        bytes: Of a video, as it comes.
        pixels: Of one frame, as its header states.
        frames: In a whole video, not those that are sampled.
        seconds: A video's length.
        decode_seconds: What decoding one video may take; after that its process is ended.
        decode_bytes: Memory that the decoding process may take beyond what it starts with.
        fetch_seconds: What fetching one URL may take, redirects included.
        redirects: How many are followed.
        body_bytes: Of a request that is not an upload; a `data:` URL is a part of one.
        body_seconds: What a request's body may take to come in.
        waiting: Questions that may wait for their turn.
        batch: Questions that are answered at once.
        videos: Videos that may be received, wait or be looked at; one is looked at at a time.
        adapter_bytes: Of seen videos kept in memory.
        map_bytes: Of merge maps kept in memory, for who watched a video being seen.
    """

    bytes: int = 256 * 2**20
    pixels: int = 40_000_000
    frames: int = 500_000
    seconds: float | int = 4 * 3600
    decode_seconds: float | int = 60
    decode_bytes: int = 2 * 2**30
    fetch_seconds: float | int = 60
    redirects: int = 5
    body_bytes: int = 48 * 2**20
    body_seconds: float | int = 120
    waiting: int = 64
    batch: int = 16
    videos: int = 8
    adapter_bytes: int = 512 * 2**20
    map_bytes: int = 64 * 2**20
