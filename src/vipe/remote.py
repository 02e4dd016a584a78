"""Beside the flow: a store at an address that fsspec opens, such as s3:// or memory://.

    ADDRESS/KEY/adapter_config.json          written first
    ADDRESS/KEY/vipe_state.safetensors       where there is one
    ADDRESS/KEY/adapter_model.safetensors    written last: with it the entry is there

Object stores have neither a rename nor locks. What takes their place:

- **The weights are put last**, and an object store promises that what is put appears whole or not
  at all. Where a driver promises less (a file server's), weights that are shorter than their header
  says are those that are still being written, or never were to the end: such an entry is none, and
  is written again by whoever sees that video next.
- **Nobody needs to be kept out.** A key is a hash of the video, the model and the way of looking,
  so that two who write the same key write the same weights, and either one may stay.
- **Nothing is left over** that would have to be removed: there is no place for unfinished work.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vipe.addresses import is_address
from vipe.entry import Entry, entry_of
from vipe.errors import StoreError

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
STATE = "vipe_state.safetensors"

# What FFmpeg plays from, and no place for adapters.
_PLAYED = {
    "http", "https", "hls", "mms", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "tls",
    "udp",
}  # fmt: skip
_HEADER = 1 << 16  # bytes that are read first, in hope of the whole header


def is_remote(name: object) -> bool:
    """Tell an address where adapters may lie from a path, and from what is played."""
    return isinstance(name, str) and is_address(name) and _scheme(name) not in _PLAYED | {"file"}


class RemoteShelf:
    """Entries at an address; a `Shelf` of a store.

    Args:
        address: As fsspec takes it; what else it needs (keys, an endpoint) comes from fsspec's own
            configuration or the driver's environment.
    """

    def __init__(self, address: str) -> None:
        self.folder = address.rstrip("/")

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The file system, and the path on it.

        Raises:
            StoreError: There is no driver for the address.
        """
        from fsspec.core import url_to_fs

        try:
            return url_to_fs(self.folder)
        except (ImportError, ValueError) as error:
            raise StoreError(f"{self.folder}: {_one_line(error)}") from error

    def names(self) -> list[str]:
        """List all that lies there, entries or not.

        Raises:
            StoreError: Nothing does, or it cannot be listed.
        """
        system, root = self._root
        try:
            system.invalidate_cache()
            return [path.rstrip("/").rpartition("/")[2] for path in system.ls(root, detail=False)]
        except FileNotFoundError:
            raise StoreError(f"{self.folder}: not a store, nothing seen is in it") from None
        except Exception as error:  # each driver has errors of its own
            raise StoreError(f"{self.folder}: not a store ({_one_line(error)})") from error

    def exists(self, key: str) -> bool:
        """Tell whether anything lies where an entry would, whole or damaged."""
        with self._reading(key):
            system, root = self._root
            return bool(system.exists(f"{root}/{key}/{CONFIG}"))
        return False

    def read(self, key: str) -> Entry | None:
        """Read what is known of an entry; None where it is absent or damaged."""
        with self._reading(key):
            system, root = self._root
            json.loads(system.cat_file(f"{root}/{key}/{CONFIG}"))
            path = f"{root}/{key}/{WEIGHTS}"
            size = int(system.info(path)["size"])
            start = system.cat_file(path, start=0, end=_HEADER)
            length = 8 + int.from_bytes(start[:8], "little")
            if length > size:
                return None
            if length > len(start):
                start = system.cat_file(path, start=0, end=length)
            header = json.loads(start[8:length])
            notes = header.pop("__metadata__")
            if length + max(tensor["data_offsets"][1] for tensor in header.values()) != size:
                return None
            return entry_of(f"{self.folder}/{key}", notes)
        return None

    def write(self, key: str, seen: PerceptualWeights) -> None:
        """Put an entry, the weights last; where another process was first, its one stays.

        Raises:
            StoreError: It cannot be written.
        """
        if self.read(key) is not None:
            return
        system, root = self._root
        with tempfile.TemporaryDirectory() as folder:
            seen.save(Path(folder) / key)
            try:
                system.makedirs(f"{root}/{key}", exist_ok=True)
                for name in (CONFIG, STATE, WEIGHTS):
                    if (file := Path(folder) / key / name).is_file():
                        system.pipe_file(f"{root}/{key}/{name}", file.read_bytes())
                system.invalidate_cache()
            except Exception as error:
                reason = _one_line(error)
                raise StoreError(
                    f"{self.folder}: the store cannot be written ({reason})"
                ) from error

    def remove(self, key: str) -> None:
        """Remove an entry, the weights first: without them it is none.

        Raises:
            StoreError: It cannot be removed.
        """
        system, root = self._root
        try:
            for name in (WEIGHTS, STATE, CONFIG):
                if system.exists(f"{root}/{key}/{name}"):
                    system.rm_file(f"{root}/{key}/{name}")
            system.invalidate_cache()
        except Exception as error:
            raise StoreError(
                f"{self.folder}/{key}: cannot be removed ({_one_line(error)})"
            ) from error

    def tidy(self) -> None:
        """Do nothing: killed processes leave nothing."""

    def check_writable(self) -> None:
        """Find out whether there is a driver; whether entries may be put, nobody knows before.

        Raises:
            StoreError: There is none.
        """
        _ = self._root

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Take what is not there, or not whole, for nothing.

        Raises:
            StoreError: The store does not answer, or does not let us in.
        """
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            pass
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"{self.folder}/{key}: cannot be read ({_one_line(error)})") from error


def load_remote(address: str) -> PerceptualWeights:
    """Read an adapter at an address.

    Raises:
        StoreError: There is none, or it cannot be read.
        AdapterError: It is damaged.
    """
    from vipe.adapter import load

    system, root = RemoteShelf(address)._root
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG, WEIGHTS, STATE):
            try:
                (Path(folder) / name).write_bytes(system.cat_file(f"{root}/{name}"))
            except Exception as error:
                if name == STATE and isinstance(error, FileNotFoundError):
                    continue  # one of before, or one that says nothing

                raise StoreError(
                    f"{address}: {name} cannot be read ({_one_line(error)})"
                ) from error
        return load(folder)


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
