"""One video at a time, beside the answers: a thread of its own, and room for a few that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import monotonic

from vipe.entry import Entry
from vipe.errors import VideoError
from vipe.serving.server.engine import Busy
from vipe.serving.server.fetching import Fetcher, name_of
from vipe.serving.server.library import Library
from vipe.serving.server.merge_map import Looking, Maps
from vipe.serving.server.metrics import Metrics
from vipe.serving.server.spool import Spool, SpoolFile


class Seeing:
    """Receives videos and looks at them.

    Args:
        library: Keeps what is seen.
        spool: Where videos lie meanwhile.
        fetcher: Brings those of URLs.
        maps: Keeps the merge maps of those whose seeing was watched.
        places: Videos that may be received, wait or be looked at.
        metrics: Counts them.
    """

    def __init__(
        self,
        library: Library,
        spool: Spool,
        fetcher: Fetcher,
        maps: Maps,
        *,
        places: int,
        metrics: Metrics,
    ) -> None:
        self._library, self._fetcher, self._maps = library, fetcher, maps
        self.spool = spool
        self._places, self._metrics = places, metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vipe-seeing")
        self.taken = 0
        self._took = 1.0  # seconds that a video takes, lately

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, from a video's first byte until it is seen.

        Raises:
            Busy: All are taken.
        """
        if self.taken >= self._places:
            raise Busy("videos", self._took * self.taken)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def see_url(self, url: str) -> Entry:
        """Fetch a video and look at it, if it was not seen already.

        Raises:
            Busy: There is no place.
            VideoError: It cannot be had or decoded.
            Refusal: It has too many bytes.
        """
        async with self.place():
            with self.spool.file(name_of(url)) as file:
                await self._fetcher.fetch(url, file)
                return await self.see(file)

    async def see(self, file: SpoolFile, looking: Looking | None = None) -> Entry:
        """Look at a video that was received, if it was not seen already; a place must be held.

        Args:
            file: The video.
            looking: Who watches, and makes its merge map, if that is not kept already.

        Raises:
            VideoError: It cannot be decoded.
        """
        known = await asyncio.to_thread(self._library.known, file.digest)
        if known is not None and (looking is None or known.key in self._maps):
            self._metrics.videos.labels("known").inc()
            return known
        loop = asyncio.get_running_loop()
        start = monotonic()
        work = loop.run_in_executor(self._thread, self._library.see, file, looking)
        try:
            # Not cut short with the request: the file must stay until it was looked at.
            entry = await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise
        except VideoError:
            self._metrics.videos.labels("refused").inc()
            raise
        if looking is not None and looking.map is not None:
            self._maps.keep(entry.key, looking.map)
        self._metrics.videos.labels("seen").inc()
        self._metrics.seeing_seconds.observe(monotonic() - start)
        self._took += 0.2 * (monotonic() - start - self._took)
        return entry

    def close(self) -> None:
        """Wait for what is being looked at, and take nothing more."""
        self._thread.shutdown(cancel_futures=True)
