"""Stage 1 of the flow, a video's frames: seeking, decoding and picking, through FFmpeg (PyAV).

Times inside this module are in the stream's own ticks (`pts`), whole numbers, so that every way
of reaching a frame names the same frame. What is in the container lives in `container.py`.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

import av
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8
from torch import Tensor

from vipe.errors import VideoError
from vipe.frames.container import Container
from vipe.frames.pixels import from_video, shown_size
from vipe.frames.values import ByteStream, VideoInfo

# Packets read ahead of the decoder, to see which frames are replaced before they are wanted.
_AHEAD = 16
# Where the container has no index, a jump this long (seconds) is worth a blind try.
_BLIND = 20.0
# A key frame is indexed by decoding time in some containers, a little before it is shown.
_SLACK = 0.5


class Video:
    """A video stream, read forward: frames at given moments, or all of them."""

    def __init__(self, stream: ByteStream, path: str | None, name: str) -> None:
        """Open `path`, or `stream` where that is None.

        Raises:
            VideoError: FFmpeg does not know what it is, or there is no video in it.
        """
        self._box = Container(stream, path, name)
        self._name = name
        self._damaged = 0
        self._blind = _BLIND

    @property
    def duration(self) -> float:
        """In seconds."""
        return self._box.seconds(self._box.end)

    def close(self) -> None:
        """Let go of the file."""
        self._box.close()

    def info(self) -> VideoInfo:
        """Decode one frame, for it alone knows how it is to be shown."""
        for _, frame in self._decoded([self._box.start]):
            height, width = shown_size(frame)
            return VideoInfo(
                kind="video",
                width=width,
                height=height,
                duration=self.duration,
                rate=self._box.rate,
                frames=self._box.stream.frames or None,
            )
        raise self._nothing()

    def frames(
        self, moments: Sequence[float] | None, size: tuple[int, int] | None
    ) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
        """Yield the frames on the screen at `moments` (None: all), each once, with their seconds.

        Raises:
            VideoError: No frame can be decoded, or the file is truncated.
        """
        reformatter, count = VideoReformatter(), 0
        if moments is None:
            chosen = self._every()
        else:
            chosen = self._shown_at([self._box.pts(moment) for moment in moments])
        for pts, frame in chosen:
            size = size or shown_size(frame)
            count += 1
            yield max(0.0, self._box.seconds(pts)), from_video(frame, size, reformatter)
        if self._damaged and (moments is None or count < len(moments)):
            warnings.warn(
                f"{self._name} is damaged: frames are missing ({self._damaged} packets could not "
                "be decoded)",
                stacklevel=3,
            )

    def _every(self) -> Iterator[tuple[int, av.VideoFrame]]:
        last = None
        for pts, frame in self._decoded(None):
            yield pts, frame
            last = self._box.end_of(pts, frame)
        self._check_end(last)

    def _shown_at(self, targets: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield for each target the last frame not after it (else the first), each frame once."""
        reached, left_at, may_jump = 0, None, True
        yielded: int | None = None
        while True:
            held: tuple[int, av.VideoFrame] | None = None
            jump = False
            for pts, frame in self._decoded(targets[reached:]):
                if held is None and left_at is not None and pts > targets[reached]:
                    break  # the jump went too far
                while reached < len(targets) and targets[reached] < pts:
                    shown = held or (pts, frame)
                    if yielded is None or shown[0] > yielded:
                        yield shown
                        yielded = shown[0]
                    reached += 1
                if reached == len(targets):
                    return
                if held is None and left_at is not None and pts <= left_at:
                    self._blind *= 2  # the jump gained nothing: be slower to try again
                held = pts, frame
                jump = may_jump and self._worth_a_jump(pts, targets[reached])
                if jump:
                    break
            if jump and self._box.jump(targets[reached]):
                left_at = pts
            elif jump or (held is None and left_at is not None):
                # No frame where the jump went: the way through from the start is always right.
                self._box.reopen()
                left_at, may_jump = None, False
            else:
                break
        if held is not None and (yielded is None or held[0] > yielded):
            yield held
        self._check_end(held and self._box.end_of(*held))

    def _worth_a_jump(self, position: int, target: int) -> bool:
        """Tell whether a key frame lies between here and the target (or may, with no index)."""
        slack = round(_SLACK / self._box.tick)
        keys = self._box.keys
        before = bisect_right(keys, target - slack) - 1
        if before >= 0 and keys[before] > position:
            return True
        indexed = bool(keys) and self._box.indexed_to >= target - slack
        return not indexed and target - position > self._blind / self._box.tick

    def _decoded(self, targets: list[int] | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode from here; frames that no target can want are not, where that is known."""
        codec = self._box.stream.codec_context
        # By definition nothing refers to an H.264 frame whose nal_ref_idc is 0, so leaving it out
        # changes no other frame. It is half of the work of usual files.
        spare = targets is not None and codec.name == "h264"
        ahead: deque[av.Packet] = deque()
        packets = self._box.packets()
        more = True
        while more or ahead:
            packet = next(packets, None) if more else None
            more = packet is not None
            if packet is not None:
                ahead.append(packet)
                if len(ahead) <= _AHEAD:
                    continue
            if not ahead:
                break
            due = ahead.popleft()
            if targets is not None and spare:
                codec.skip_frame = "DEFAULT" if _wanted(due, ahead, targets) else "NONREF"
            yield from self._frames_of(due)
        yield from self._frames_of(None)

    def _frames_of(self, packet: av.Packet | None) -> Iterator[tuple[int, av.VideoFrame]]:
        try:
            frames = self._box.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self._damaged += 1
            return
        for frame in frames:
            pts = self._box.pts_of(frame)
            if pts is not None:
                yield pts, frame

    def _check_end(self, last: int | None) -> None:
        if last is None:
            raise self._nothing()
        self._box.check_whole(last)

    def _nothing(self) -> VideoError:
        return VideoError(f"{self._name}: no frame of it can be decoded")


def _wanted(packet: av.Packet, ahead: Sequence[av.Packet], targets: list[int]) -> bool:
    """Tell whether a packet's frame may be the last one not after some target."""
    if packet.pts is None:
        return True
    next_target = bisect_left(targets, packet.pts)
    if next_target == len(targets):
        return False
    limit = targets[next_target]
    return not any(other.pts is not None and packet.pts < other.pts <= limit for other in ahead)
