"""What is said when a registry cannot be reached."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import httpx
import pytest

from envbuild.registry.refusals import Answer, unreachable


def failed(cause: Exception) -> httpx.ConnectError:
    """As httpx tells of it: some way down the chain of causes."""
    error = httpx.ConnectError(str(cause))
    between = OSError("in between")
    between.__cause__ = cause
    error.__context__ = between
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def not_tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "code", "message", "remedy"),
    [
        (
            failed(untrusted()),
            "registry-certificate",
            "the certificate of r:5000 is not trusted: self-signed certificate",
            "SSL_CERT_FILE",
        ),
        (
            failed(not_tls("WRONG_VERSION_NUMBER")),
            "registry-tls",
            "r:5000 does not speak TLS",
            "--plain-http r:5000",
        ),
        (
            failed(not_tls("TLSV1_ALERT_INTERNAL_ERROR")),
            "registry-dropped",
            "the connection to r:5000 failed: ",
            "network",
        ),
        (
            failed(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))),
            "registry-unreachable",
            "r:5000 cannot be reached: connection refused",
            "name and port",
        ),
        (
            failed(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
            "registry-unreachable",
            "r:5000 cannot be reached: name or service not known",
            "name and port",
        ),
        (
            failed(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
            "registry-dropped",
            "the connection to r:5000 failed: ",
            "network",
        ),
        (
            httpx.ReadTimeout(""),
            "registry-dropped",
            "the connection to r:5000 failed: ReadTimeout",
            "network",
        ),
        (
            httpx.ReadError("https://me:secret@r:5000/?token=x"),
            "registry-dropped",
            "the connection to r:5000 failed: https://***@r:5000/?token=***",
            "network",
        ),
    ],
)
def test_connections(error: Exception, code: str, message: str, remedy: str) -> None:
    told = unreachable("r:5000", error)

    assert (code, 4) == (told.code, told.exit_code)
    assert told.message.startswith(message)
    assert remedy in str(told.remedy)


@pytest.mark.parametrize(
    ("body", "codes", "reason"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no"}]}', ("DENIED",), "DENIED: no"),
        (b'{"errors":[{"code":"A"},{"message":"b"},{}]}', ("A", "", ""), "A; b; "),
        (b'{"errors":[]}', (), ""),
        (b'{"errors":{"code":"A"}}', (), ""),
        (b'{"errors":[7]}', (), ""),
        (b"<html>", (), ""),
        (b"", (), ""),
        (b"[" * 100_000, (), ""),
        (b'{"errors":[{"code":"A","message":"\\u001b[31mred\\nline"}]}', ("A",), "A: \\x1b[31mred\\nline"),
    ],
)
def test_what_registries_say(body: bytes, codes: tuple[str, ...], reason: str) -> None:
    answer = Answer(400, httpx.Headers(), body)

    assert (codes, reason.strip()) == (answer.codes, answer.reason)
