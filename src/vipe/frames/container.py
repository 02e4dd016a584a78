"""Stage 1 of the flow, the container: which stream, how long, where its key frames are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.stream import Disposition

from vipe.errors import VideoError
from vipe.frames.values import ByteStream

# Formats in which FFmpeg draws text; a text file is no video.
_TEXT = {"tty", "bin", "xbin", "idf", "adf"}
# How an MP4 or QuickTime file begins, its index to come.
_BEGINNINGS = {b"ftyp", b"wide", b"mdat"}
# Frames that end before this share of the stated length mean that the file was cut off.
_WHOLE = 0.9


class Container:
    """An open container and its one video stream that counts.

    Attributes:
        stream: The video stream.
        tick: Seconds a tick of the stream's clock takes.
        rate: Frames a second, on average.
        start: The tick at which the video starts.
        end: The tick at which its last frame goes.
        keys: Ticks of the key frames that the container lists, increasing; some containers list
            the time of decoding, a little before that of showing.
        indexed_to: The last tick that the list covers.
    """

    def __init__(
        self, stream: ByteStream, path: str | None, name: str, *, strict: bool = True
    ) -> None:
        """Open `path`, or `stream` where that is None; not strict, `check_uncut` tells of a cut.

        Raises:
            VideoError: FFmpeg does not know what it is, there is no video, or it is cut off.
        """
        self._bytes, self._path, self._name = stream, path, name
        self._strict = strict
        self._cut: VideoError | None = None
        self._container: InputContainer | None = None
        self._timed = True
        self.start = 0
        self.reopen()
        assert self.stream.time_base is not None
        self.tick = float(self.stream.time_base)
        start, length = self.stream.start_time, self.stream.duration
        # A bare stream has no clock; its average rate is FFmpeg's default, the guess is better.
        rates = (self.stream.average_rate, self.stream.guessed_rate)
        self.rate = float(next(filter(None, rates if start is not None else rates[::-1]), 25))
        self._step = max(1, round(1 / self.rate / self.tick))
        self.start, self.end = start or 0, (start or 0) + (length or 0)
        measured = start is None or self.end <= self.start
        if measured:
            self.start, self.end = self._measure()
        entries = list(self.stream.index_entries)
        self.keys = sorted(entry.timestamp for entry in entries if entry.is_keyframe)
        self.indexed_to = max((entry.timestamp for entry in entries), default=-1)
        if measured:
            self.reopen()

    def reopen(self) -> None:
        """Go back to the very start, by the one way that every format knows."""
        self.close()
        self._bytes.seek(0)
        try:
            # "file:" keeps FFmpeg from reading a protocol into a name with a colon.
            file = self._bytes if self._path is None else f"file:{self._path}"
            container = av.open(file, "r", metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self._reason(error)) from error
        self._container = container
        self.stream = self._choose(container)
        self.stream.thread_type = "AUTO"
        self._to_key = False
        self._floor: int | None = None
        self._next = self.start

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()

    def seconds(self, pts: int) -> float:
        """Turn a tick into seconds from the video's start."""
        return (pts - self.start) * self.tick

    def pts(self, seconds: float) -> int:
        """Turn seconds from the video's start into the last tick not after them."""
        # A thousandth of a tick is for rounding, lest a frame that starts just then is missed.
        return self.start + math.floor(seconds / self.tick + 1e-3)

    def jump(self, target: int) -> bool:
        """Go to the last key frame that is not after `target`; False where it cannot be done."""
        assert self._container is not None
        if not self._timed:  # no frame would know where it is
            return False
        try:
            self._container.seek(target, stream=self.stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        self._to_key = True
        return True

    def packets(self) -> Iterator[av.Packet]:
        """Read the stream's packets from here to the end, or to where they cannot be read."""
        assert self._container is not None
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                return
            if packet is None:
                return
            if packet.dts is None and packet.pts is None and not packet.size:
                continue  # PyAV's sign to drain the decoder
            if self._to_key:
                if not packet.is_keyframe:
                    continue
                self._to_key, self._floor = False, packet.pts
            yield packet

    def pts_of(self, frame: av.VideoFrame) -> int | None:
        """Give a decoded frame's time; None for one that a jump left without its references."""
        pts = frame.pts
        if pts is None:  # a bare stream: count
            self._timed = False
            pts = self._next
        self._next = self.end_of(pts, frame)
        return None if self._floor is not None and pts < self._floor else pts

    def end_of(self, pts: int, frame: av.VideoFrame) -> int:
        """Give the time at which a frame goes."""
        return pts + (frame.duration or self._step)

    def check_whole(self, last: int) -> None:
        """Check that frames reach the end.

        Raises:
            VideoError: They end at `last`, clearly before the end that the container states.
        """
        if last - self.start < _WHOLE * (self.end - self.start):
            raise self._truncated(self.seconds(last), self.seconds(self.end))

    def check_uncut(self) -> None:
        """Tell of a cut that was found when the file was opened.

        Raises:
            VideoError: There is one.
        """
        if self._cut is not None:
            raise self._cut

    def _choose(self, container: InputContainer) -> av.VideoStream:
        videos = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic  # a song's cover
        ]
        if not videos or container.format.name in _TEXT:
            sound = " (only sound)" if container.streams.audio else ""
            raise VideoError(f"{self._name} has no video stream{sound}")
        # The one marked as default, then the largest, then the first.
        stream = max(
            videos,
            key=lambda s: (
                bool(s.disposition & Disposition.default),
                (s.width or 0) * (s.height or 0),
            ),
        )
        if stream.codec_context is None:
            raise VideoError(f"{self._name}: no decoder for its video")
        return stream

    def _measure(self) -> tuple[int, int]:
        """Find start and end from the packets, where the stream does not state its length."""
        assert self._container is not None
        stated = (self._container.duration or 0) / av.time_base / self.tick
        start, span = self.stream.start_time, None
        if start is not None and stated > 0 and self.jump(round(stated)):
            span = self._span()
        if start is None or span is None:
            self.reopen()
            span = self._span() or (0, 0)
            start = span[0] if start is None else start
        end = span[1]
        if end - start < _WHOLE * (stated - start) and self._cut_off(stated):
            self._cut = self._truncated((end - start) * self.tick, (stated - start) * self.tick)
            if self._strict:
                raise self._cut
        return start, end

    def _span(self) -> tuple[int, int] | None:
        """Read to the end of the file for the first and last tick of the packets."""
        times, untimed = [], 0
        for packet in self.packets():
            length = packet.duration or self._step
            if packet.pts is None:
                untimed += length
            else:
                times += [packet.pts, packet.pts + length]
        if times:
            return min(times), max(times)
        return (0, untimed) if untimed else None

    def _cut_off(self, stated: float) -> bool:
        """Tell a file that was cut from one with longer sound, or with a last frame that stays."""
        self.reopen()
        assert self._container is not None
        shown, end = [], 0.0
        try:
            for packet in self._container.demux():
                if packet.pts is None or packet.time_base is None:
                    continue
                end = max(end, (packet.pts + (packet.duration or 0)) * float(packet.time_base))
                if packet.stream_index == self.stream.index:
                    shown.append(packet.pts)
        except (av.FFmpegError, OSError):
            pass  # what could be read counts
        if end >= _WHOLE * stated * self.tick:
            return False
        shown.sort()
        longest = max((after - before for before, after in itertools.pairwise(shown)), default=0)
        return not shown or stated - shown[-1] > 2 * longest

    def _truncated(self, has: float, states: float) -> VideoError:
        return VideoError(
            f"{self._name} is truncated: its frames end at {has:.2f} s of {states:.2f} s"
        )

    def _reason(self, error: Exception) -> str:
        if isinstance(error, av.InvalidDataError):
            self._bytes.seek(0)
            if self._bytes.read(12)[4:8] in _BEGINNINGS:
                return f"{self._name} is truncated: it has no readable index (moov)"
            return f"{self._name} is not a video or picture that can be read"
        return f"{self._name} cannot be read: {getattr(error, 'strerror', None) or error}"
