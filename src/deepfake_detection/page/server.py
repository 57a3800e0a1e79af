"""Serving the page on this machine alone, until Ctrl-C."""

import os
import socket

import uvicorn
from starlette.types import ASGIApp

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.page.guard import ADDRESS

# A picture that is being scored when the page is ended may take so long, and is then given up
_SECONDS_TO_END = 2


def open_port(port: int) -> socket.socket:
    """A socket that listens on this machine's own address.

    Args:
        port: Its number; 0 takes any that is free.

    Raises:
        UserError: If it is taken, or not for this user.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # elsewhere it would let two programs have the same port; here, a page be started again at once
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        # at once, so that a second page on the same port finds out before it loads its detector
        listener.listen()
    except OSError as error:
        listener.close()
        reason = error.strerror or first_line(error)
        raise UserError(
            f"--port: {ADDRESS}:{port} cannot be opened ({reason}). Take another, or 0 for any "
            "that is free."
        ) from None
    return listener


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Answer requests until Ctrl-C.

    Args:
        app: What answers.
        listener: As `open_port` gives it.
    """
    config = uvicorn.Config(
        app,
        # the parts that are there with any installation of uvicorn
        loop="asyncio", http="h11", ws="none", lifespan="off",
        # nothing is told of requests; errors are logged where they happen
        log_config=None, log_level="critical", access_log=False,
        proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[listener])
    # it ends well, and then passes on what ended it
    except KeyboardInterrupt:
        return
