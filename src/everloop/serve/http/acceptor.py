"""Accepting from a socket that several workers share, so that none of them is left without its part of connections.

Left to the kernel, whoever wakes up first takes all that waits: a pool of connections that a client opens at once
mostly lands on one worker, and the others idle. Here a worker tells the others in shared memory how many it has, takes
one at a time, and leaves a connection to them for some turns of its event loop while it has far more than another.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Acceptor", "Standing"]

_log = logging.getLogger(__name__)

_NOBODY = -1
_MOST_YIELDS = 20
"""For so many turns a connection is left to others: one of them may be busy, or hang."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_ROOM_SECONDS = 1.0


class Standing:
    """How many connections each worker has, in a file that all of them map.

    Args:
        file: the file; it is made where there is none.
        workers: how many workers there are.
        own: this worker's number, from 0.
    """

    def __init__(self, file: Path, *, workers: int, own: int) -> None:
        self._own = own
        with file.open("a+b") as opened:
            opened.truncate(8 * workers)
            self._map = mmap.mmap(opened.fileno(), 8 * workers)
        self._view: Any = memoryview(self._map).cast("q")

    @classmethod
    def make(cls, file: Path, *, workers: int) -> Standing:
        """That of a new server, none of whose workers accepts yet; for their supervisor."""
        made = cls(file, workers=workers, own=0)
        for place in range(workers):
            made.forget(place)
        return made

    def tell(self, connections: int) -> None:
        """Tell the others how many connections this worker has."""
        self._view[self._own] = connections

    def forget(self, worker: int) -> None:
        """A worker accepts no more, or has died."""
        self._view[worker] = _NOBODY

    def leave(self) -> None:
        """This worker accepts no more."""
        self.forget(self._own)

    def fewest(self) -> int | None:
        """The fewest connections that another worker has, ``None`` where no other accepts."""
        others = [count for place, count in enumerate(self._view.tolist()) if place != self._own and count != _NOBODY]
        return min(others, default=None)


class Acceptor:
    """Takes connections for one worker; uvicorn closes it as it does a server of asyncio.

    Args:
        listener: the socket that the workers share.
        make: makes a connection's protocol.
        count: how many connections this worker has.
        standing: those of all workers.
        tls: how connections are encrypted, if they are.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        *,
        standing: Standing,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._make = make
        self._count = count
        self._standing = standing
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._joining: set[asyncio.Task[None]] = set()
        self._yields = 0
        self._pause: asyncio.Handle | None = None
        self._is_closed = False
        self.sockets: Sequence[socket.socket] = (listener,)
        listener.setblocking(False)
        standing.tell(count())
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._standing.leave()
        self._loop.remove_reader(self._listener.fileno())
        if self._pause is not None:
            self._pause.cancel()

    async def wait_closed(self) -> None:
        """Return when those that were being taken in have joined or failed."""
        if self._joining:
            await asyncio.wait(self._joining)

    def _listen(self) -> None:
        self._pause = None
        if not self._is_closed:
            self._loop.add_reader(self._listener.fileno(), self._come)

    def _rest(self, seconds: float) -> None:
        """Look away from the socket for a while, at least for a turn."""
        self._loop.remove_reader(self._listener.fileno())
        # a timer's millisecond would be an answer's whole time to clients that connect anew for each request
        self._pause = self._loop.call_later(seconds, self._listen) if seconds else self._loop.call_soon(self._listen)

    def _come(self) -> None:
        """A connection waits."""
        own = self._count() + len(self._joining)
        fewest = self._standing.fewest()
        if fewest is not None and own > 2 * fewest + 1 and self._yields < _MOST_YIELDS:
            self._yields += 1
            self._rest(0.0)
            return
        self._yields = 0
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker has it, or the client has gone
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            _log.error("no connection can be taken: %s", error)
            self._rest(_NO_ROOM_SECONDS)
            return
        self._standing.tell(own + 1)
        task = self._loop.create_task(self._join(accepted))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, accepted: socket.socket) -> None:
        """Make a connection of a socket; one whose handshake fails is the client's affair."""
        accepted.setblocking(False)
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make, accepted, ssl=self._tls)
        except OSError as error:  # an error of TLS is one too
            _log.debug("a connection was not made: %s", error)
            accepted.close()
            self._standing.tell(self._count() + len(self._joining) - 1)
