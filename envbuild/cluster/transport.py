"""Requests to an API server, through the official client, tried again when that is safe and may help."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from envbuild.cluster.failures import TRANSIENT, Action, failure, not_kubernetes, unreachable
from envbuild.registry.retry import retry_after

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

__all__ = ["Transport"]

_ATTEMPTS = 5
_LONGEST_PAUSE = 30.0  # seconds; a server that asks for more is not waited for
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_LARGEST = 256 << 20  # bytes of an answer


class Transport:
    """A connection; threads may share it.

    Parameters:
        client: the official client, with address and credentials.
        renew: makes a client with fresh credentials once they are refused.
        wait: pauses that many seconds before another try.
    """

    def __init__(
        self,
        client: ApiClient,
        renew: Callable[[], ApiClient] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.client = client
        self._renew = renew
        self._wait = wait

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.client.configuration.host)

    def json(
        self,
        method: str,
        path: str,
        action: Action,
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content: str = "json",
    ) -> dict[str, Any]:
        """The JSON object that is answered.

        Parameters:
            action: what is asked, for errors.
            query: what is empty in it is left out.
            content: the subtype of ``body``'s media type.

        Raises:
            RemoteError: see failures.py.
        """
        answer, document = self._answer(method, path, action, query or {}, body, content, _READ_SECONDS)
        if document is None:
            raise not_kubernetes(self.server, answer.status)
        return document

    def lines(
        self, path: str, action: Action, query: Mapping[str, str], seconds: float | None
    ) -> Iterator[bytes]:
        """The lines of an answer that comes bit by bit, without their ends.

        Parameters:
            seconds: after so many without a byte it breaks; None: never.

        Raises:
            RemoteError: see failures.py.
        """
        answer, _ = self._answer("GET", path, action, query, None, "", seconds, stream=True)
        rest = b""
        try:
            for piece in answer.response.stream(64 << 10):
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
            if rest:
                yield rest
        except _broken() as error:
            raise unreachable(error, self.server, action) from error
        finally:
            answer.response.close()

    def _answer(
        self,
        method: str,
        path: str,
        action: Action,
        query: Mapping[str, str],
        body: dict[str, Any] | None,
        content: str,
        seconds: float | None,
        stream: bool = False,
    ) -> tuple[Any, dict[str, Any] | None]:
        """An answer with a good status, and its body, unless that is to be streamed.

        Tried again as long as that may help.

        A create is not idempotent: it is only sent again when the server says that it has not begun (429, or
        a conflict, which is over a quota that somebody else used at the same moment), or when no connection
        was made.
        """
        renewed = False
        failures = 0
        while True:
            pause: float | None = None
            client = self.client
            try:
                answer = self._send(method, path, query, body, content, seconds)
                good = 200 <= answer.status <= 299
                document = None if good and stream else _document(answer)
            except _broken() as error:
                trouble = unreachable(error, self.server, action)
                again = trouble.code == "cluster-unreachable" and (method != "POST" or _never_sent(error))
            else:
                if good:
                    return answer, document
                trouble = failure(answer.status, document, action, self.server)
                pause = retry_after(answer.headers.get("Retry-After"))
                if answer.status == 401 and self._renew is not None and not renewed:
                    renewed = True
                    if self.client is client:
                        self.client = self._renew()
                    continue
                again = answer.status == 429 or (
                    trouble.code == "cluster-conflict" if method == "POST" else answer.status in TRANSIENT
                )
            failures += 1
            if not again or failures == _ATTEMPTS or (pause or 0.0) > _LONGEST_PAUSE:
                raise trouble
            self._wait(0.5 * 2 ** (failures - 1) if pause is None else pause)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: dict[str, Any] | None,
        content: str,
        seconds: float | None,
    ) -> Any:
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = f"application/{content}"
        request = self.client.param_serialize(
            method,
            path,
            query_params=[(key, value) for key, value in query.items() if value],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return self.client.call_api(*request, _request_timeout=(_CONNECT_SECONDS, seconds))


def _document(answer: Any) -> dict[str, Any] | None:
    """The JSON object an answer consists of, None when it is something else."""
    data = answer.response.read(_LARGEST + 1)
    answer.response.release_conn()
    if len(data) > _LARGEST:
        return None
    with suppress(ValueError, RecursionError):
        document = json.loads(data)
        if isinstance(document, dict):
            return document
    return None


def _broken() -> tuple[type[Exception], ...]:
    """What the client raises when there is no answer."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    return (ApiException, HTTPError, OSError)


def _never_sent(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    return isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)
