"""Stage 1 of the flow, video file → Frames: decoding and sampling in seconds.

reading      opens what a path or stream holds, and the public verbs
video        moving pictures: seeking, decoding and picking, through FFmpeg (PyAV)
live         what comes once, and cannot be sought in: a stream, an address, a device
following    a file that is still being written, as such a stream
container    the file around them: which stream, how long, where its key frames are
pictures     still ones, through Pillow: one, a folder of them, an animated WebP
fingerprint  which bytes a video is, as a hash
sampling     which moments are wanted
pixels       decoded picture → RGB tensor, upright and resized
values       what comes out
"""

from vipe.frames.fingerprint import fingerprint
from vipe.frames.reading import iter_frames, probe, read_frames
from vipe.frames.sampling import EveryFrame, Rate, Sampling, Uniform
from vipe.frames.values import Frames, VideoInfo

__all__ = [
    "EveryFrame",
    "Frames",
    "Rate",
    "Sampling",
    "Uniform",
    "VideoInfo",
    "fingerprint",
    "iter_frames",
    "probe",
    "read_frames",
]
