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
from jaxtyping import UInt8
from torch import Tensor

from vipe.errors import VideoError
from vipe.frames.container import Container
from vipe.frames.pixels import Orientation, VideoPixels
from vipe.frames.values import ByteStream, VideoInfo

# A decoded frame, and the tick at which it is shown.
TimedFrame = tuple[int, av.VideoFrame]

# Packets read ahead of the decoder, to see which frames are replaced before they are wanted.
_AHEAD = 16
# Where the container has no index, a jump this long (seconds) is worth a blind try.
_BLIND = 20.0
# A key frame is indexed by decoding time in some containers, a little before it is shown.
_SLACK = 0.5


class Video:
    """A video stream, read forward: frames at given moments, or all of them."""

    def __init__(
        self, stream: ByteStream, path: str | None, name: str, *, strict: bool = True
    ) -> None:
        """Open `path`, or `stream` where that is None; not strict, a cut is told at its place.

        Raises:
            VideoError: FFmpeg does not know what it is, or there is no video in it.
        """
        self._box = Container(stream, path, name, strict=strict)
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
            height, width = Orientation.of(frame).shown_size(frame)
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
        convert, count = VideoPixels(size), 0
        if moments is None:
            chosen = self._every()
        else:
            chosen = self._shown_at([self._box.pts(moment) for moment in moments])
        for pts, frame in chosen:
            count += 1
            yield max(0.0, self._box.seconds(pts)), convert(frame)
        if self._damaged and (moments is None or count < len(moments)):
            warnings.warn(
                f"{self._name} is damaged: frames are missing ({self._damaged} packets could not "
                "be decoded)",
                stacklevel=3,
            )
        self._box.check_uncut()

    def _every(self) -> Iterator[TimedFrame]:
        held: TimedFrame | None = None
        for held in self._decoded(None):
            yield held
        self._check_end(held)

    def _shown_at(self, targets: list[int]) -> Iterator[TimedFrame]:
        """Yield the frames that are on the screen at any of the targets, each once."""
        last: int | None = None
        for pts, frame in self._picked(targets):
            if last is None or pts > last:
                yield pts, frame
                last = pts

    def _picked(self, targets: list[int]) -> Iterator[TimedFrame]:
        """Yield for each target the last frame not after it, or else the first frame."""
        reached = 0  # the first target that is not served yet
        considered = -1  # the last one for which a jump was thought of
        left_at: int | None = None  # where the last jump began; None where there was none
        while True:
            held: TimedFrame | None = None
            aim: int | None = None
            for pts, frame in self._decoded(targets[reached:]):
                if held is None and left_at is not None:
                    if pts > targets[reached]:
                        break  # the jump went too far
                    if pts <= left_at:
                        self._blind *= 2  # it gained nothing: be slower to try again
                while targets[reached] < pts:
                    yield held or (pts, frame)
                    reached += 1
                    if reached == len(targets):
                        return
                held = pts, frame
                if reached > considered:
                    considered, aim = reached, self._aim(pts, targets[reached])
                    if aim is not None:
                        break
            if aim is not None and held is not None and self._box.jump(aim):
                left_at = held[0]
            elif aim is None and (held is not None or left_at is None):
                break  # the end of the video
            else:
                # No frame where the jump went: the way through from the start is always right.
                self._box.reopen()
                considered, left_at = len(targets), None
        if held is not None:
            yield held
        self._check_end(held)

    def _aim(self, position: int, target: int) -> int | None:
        """Give where to jump to on the way to the target; None where decoding on is as good."""
        slack = round(_SLACK / self._box.tick)
        keys = self._box.keys
        before = bisect_right(keys, target - slack) - 1
        if before >= 0 and keys[before] > position:
            return target
        far = round(self._blind / self._box.tick)
        if (keys and self._box.indexed_to >= target - slack) or target - position <= far:
            return None
        # Without an index FFmpeg goes to any frame, and on to the next key frame: aim well before.
        return target - far // 2

    def _decoded(self, targets: list[int] | None) -> Iterator[TimedFrame]:
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

    def _frames_of(self, packet: av.Packet | None) -> Iterator[TimedFrame]:
        try:
            frames = self._box.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self._damaged += 1
            return
        for frame in frames:
            pts = self._box.pts_of(frame)
            if pts is not None:
                yield pts, frame

    def _check_end(self, last: TimedFrame | None) -> None:
        if last is None:
            raise self._nothing()
        self._box.check_whole(self._box.end_of(*last))

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
