"""Between stages 1 and 2: a thread that reads frames ahead of the encoder, a few and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sized
from threading import Condition, Thread
from typing import Generic, TypeVar

Piece = TypeVar("Piece", bound=Sized)

# A closing reader waits so long (seconds) for a source that gives nothing; then the thread ends
# with the source's next piece.
_PATIENCE = 5.0


def read_ahead(pieces: Iterable[Piece], room: int) -> Generator[Piece]:
    """Yield pieces that a thread reads meanwhile; its error is raised here, after what came before.

    Closing the iterator before its end stops the thread at its next piece, and closes `pieces` if
    it is a generator.

    Args:
        pieces: What to read; from the first step on, by the thread alone.
        room: How much may wait, as the sum of the pieces' lengths; one piece may, however long.
    """
    shelf: _Shelf[Piece] = _Shelf(room)
    thread = Thread(target=_fill, args=(shelf, pieces), name="vipe-read-ahead", daemon=True)
    del pieces  # the thread's alone
    thread.start()
    try:
        while (piece := shelf.take()) is not None:
            yield piece
    finally:
        shelf.close()
        thread.join(_PATIENCE)


class _Shelf(Generic[Piece]):
    """What waits between the thread and its reader, and how the reading ended."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting: deque[Piece] = deque()
        self._changed = Condition()
        self._closed = self._ended = False
        self._error: BaseException | None = None

    def put(self, piece: Piece) -> bool:
        """Add a piece as soon as there is room; False where nobody wants it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(len(piece)))
            if not self._closed:
                self._waiting.append(piece)
                self._changed.notify_all()
            return not self._closed

    def end(self, error: BaseException | None) -> None:
        """Say that nothing more comes, and why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def take(self) -> Piece | None:
        """Give the next piece as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            error, self._error = self._error, None
            if error is not None:
                raise error
            return None

    def close(self) -> None:
        """Say that nobody wants more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _fits(self, length: int) -> bool:
        return not self._waiting or sum(map(len, self._waiting)) + length <= self._room


def _fill(shelf: _Shelf[Piece], pieces: Iterable[Piece]) -> None:
    error: BaseException | None = None
    try:
        for piece in pieces:
            if not shelf.put(piece):
                break
        if isinstance(pieces, Generator):
            pieces.close()
    except BaseException as raised:
        error = raised
    shelf.end(error)
