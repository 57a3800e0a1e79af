"""What the page answers when it cannot do what is asked."""

from collections.abc import Mapping

from starlette.responses import JSONResponse


class Problem(Exception):  # noqa: N818  (it is the answer, not a failure of the program)
    """Ends a request with a status and one plain sentence.

    Args:
        status: Of HTTP.
        sentence: What is wrong, and what to do.
        headers: Of the answer.
    """

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})

    def answer(self) -> JSONResponse:
        """As JSON: `{"error": sentence}`."""
        # what is still being sent is not waited for
        headers = {"Connection": "close"} | self.headers
        return JSONResponse({"error": str(self)}, self.status, headers)
