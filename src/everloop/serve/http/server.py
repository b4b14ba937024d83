"""Uvicorn's server, with what a worker of this one needs beside: readiness, renewed certificates, fair shares."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn

from everloop.serve.doors.tls import Certificate
from everloop.serve.http.acceptor import Acceptor, Standing
from everloop.serve.http.connection import Connections

__all__ = ["Server"]

_GARBAGE_THRESHOLD = 10_000
_TICKS_BETWEEN_RENEWALS = 50  # ticks of a tenth of a second


class Server(uvicorn.Server):
    """A server that tells when it is ready, takes a renewed certificate, and shares connections with other workers.

    Args:
        config: uvicorn's configuration.
        ready: called when requests can be answered.
        certificate: what is renewed, where connections are encrypted.
        group: the connections of this process.
        standing: those of all workers; ``None`` for one worker.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        certificate: Certificate | None,
        *,
        group: Connections,
        standing: Standing | None,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._certificate = certificate
        self._group = group
        self._standing = standing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, accept, and tell that it is ready."""
        if self._standing is None:
            await super().startup(sockets=sockets)
        else:
            await super().startup(sockets=[])
            self._accept(sockets or [], self._standing)
        # what was loaded stays: looking through all of it for garbage now and then would hold answers up for long
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD)
        if not self.should_exit:
            self._ready()

    def _accept(self, sockets: list[socket.socket], standing: Standing) -> None:
        """Take connections in turn with the other workers."""
        config = self.config

        def make() -> asyncio.Protocol:
            made: asyncio.Protocol = cast("Any", config.http_protocol_class)(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        def count() -> int:
            return len(self._group.open)

        for each in sockets:
            acceptor = Acceptor(each, make, count, standing=standing, tls=config.ssl)
            self.servers.append(cast("Any", acceptor))

    async def on_tick(self, counter: int) -> bool:
        """What is done ten times a second; tells whether the server is to end."""
        if self._certificate is not None and counter % _TICKS_BETWEEN_RENEWALS == 0:
            self._certificate.renew()
        return await super().on_tick(counter)
