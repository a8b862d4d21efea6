"""The https web on loopback: a proxy that answers for every host itself, with a certificate of its own."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["impostor"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        self.send_response(200)
        self.end_headers()
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.connection, server_side=True) as secured,
            secured.makefile("rb") as self.rfile,
            secured.makefile("wb") as self.wfile,
        ):
            self.host = host
            self.close_connection = False
            while not self.close_connection:
                self.handle_one_request()
        self.close_connection = True

    def do_GET(self) -> None:
        url = f"https://{getattr(self, 'host', '')}{self.path}"
        self.server.requests.append(url)
        content = self.server.answers.get(url)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext
    answers: Mapping[str, bytes]
    requests: list[str]


@contextlib.contextmanager
def impostor(directory: Path, answers: Mapping[str, bytes]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Run the proxy; the value is ``(variables that lead a program to it, URLs that were asked for)``.

    Parameters:
        answers: URL -> content; everything else is not found.
    """
    hosts = sorted({url.split("/")[2] for url in answers} | {"localhost"})
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=impostor"]
    subprocess.run([*command, "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(certificate, key)
    server.answers, server.requests = answers, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {"HTTPS_PROXY": address, "SSL_CERT_FILE": str(certificate), "NO_PROXY": ""}, server.requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
