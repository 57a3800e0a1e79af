"""The server under the application: on this machine alone, with few connections."""

import socket
import time
from contextlib import suppress
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

# On every answer. The page restricts itself further, in its head
_HEADERS = [
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
_MAX_CONNECTIONS = 128
# For a request to arrive, or for an answer to be taken
_WAITING_SECONDS = 10


class Server(uvicorn.Server):
    """Closes connections that send no request or take no answer: uvicorn waits for ever."""

    _since: dict[tuple[Any, Any], float] = {}  # noqa: RUF012  (replaced, never changed)

    async def on_tick(self, counter: int) -> bool:
        """Close those that have waited too long, or longest of too many. Called every 0.1 s."""
        connections, now = self.server_state.connections, time.monotonic()
        # a connection and its last request, if that one is answered or its answer not taken
        waiting = {
            (each, each.cycle)
            for each in cast("set[H11Protocol]", connections)
            if not each.cycle or each.cycle.response_complete or each.flow.write_paused
        }
        self._since = {each: self._since.get(each, now) for each in waiting}
        too_many = len(connections) - _MAX_CONNECTIONS
        for place, each in enumerate(sorted(waiting, key=self._since.__getitem__)):
            if place < too_many or now - self._since[each] > _WAITING_SECONDS:
                each[0].transport.abort()
        return await super().on_tick(counter)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer requests until Ctrl-C."""
    config = uvicorn.Config(
        app,
        # parts that every installation of uvicorn has
        loop="asyncio", http="h11", ws="none", lifespan="off",
        # requests are not logged; errors are logged by the application
        log_config=None, log_level="critical", access_log=False,
        proxy_headers=False, server_header=False, headers=_HEADERS,
        # connections that are accepted at once
        backlog=_MAX_CONNECTIONS,
        # then an image that is being scored is given up
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    # uvicorn raises it again after it has stopped
    with suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])
