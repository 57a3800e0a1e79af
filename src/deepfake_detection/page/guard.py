"""Who may ask the page for anything: only itself, and programs on this machine.

Any site that is open in the same browser can send requests to 127.0.0.1, and a name of its own can
be made to lead there (DNS rebinding). So the host that is asked for has to be this machine's, what
computes needs a header that no other site's page can send (the browser would ask before, and is
told nothing), and an origin that is told has to be the page's own.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_detection.page.problems import Problem

ADDRESS = "127.0.0.1"
OWN_HEADER = "X-Deepfake-Page"

_HARMLESS_METHODS = frozenset({"GET", "HEAD"})
_HTTP_PORT = 80
_ALWAYS_SENT = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Lets requests through to an application, or answers them itself; and closes every answer in.

    Args:
        app: Behind it.
        port: That the page is served at.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = [f"{name}:{port}" for name in (ADDRESS, "localhost")]
        if port == _HTTP_PORT:
            self._hosts += [ADDRESS, "localhost"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_closed_in(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS_SENT.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check_request(scope["method"], Headers(scope=scope), self._hosts)
        except Problem as problem:
            await problem.answer()(scope, receive, send_closed_in)
            return
        await self._app(scope, receive, send_closed_in)


def check_request(method: str, headers: Headers, hosts: Sequence[str]) -> None:
    """Check who asks.

    Args:
        method: Of the request.
        headers: Of the request.
        hosts: The page's own, each with its port.

    Raises:
        Problem: If it is not the page itself or a program that means this page.
    """
    asked = headers.getlist("host")
    if len(asked) != 1 or asked[0].lower() not in hosts:
        raise Problem(421, f"This page is at http://{hosts[0]} and under no other name.")
    if method in _HARMLESS_METHODS:
        return
    if OWN_HEADER not in headers:
        raise Problem(403, f"A request that computes needs the header {OWN_HEADER}.")
    origins = headers.getlist("origin")
    if any(origin.lower() != f"http://{asked[0].lower()}" for origin in origins):
        raise Problem(403, "Pages of other sites cannot have pictures scored here.")
