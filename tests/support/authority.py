"""A certificate authority of our own, and what it signed for servers on this machine."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "make_authority"]

_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Authority:
    """Files of an authority that nobody else trusts.

    ``certificate`` and ``key`` are a server's; ``alone`` is the authority, ``bundle`` the same beside those
    that this machine trusts anyway.
    """

    certificate: Path
    key: Path
    alone: Path
    bundle: Path

    @property
    def server(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.certificate, self.key


def make_authority(directory: Path, *hosts: str) -> Authority:
    """Make one in ``directory`` (with ``openssl``); it signs for localhost, 127.0.0.1 and ``hosts``."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Authority(*(directory / f"{name}.pem" for name in ("certificate", "key", "authority", "bundle")))
    own_key = directory / "authority.key"
    _request("-keyout", own_key, "-out", made.alone, "-subj", "/CN=Our own authority")
    names = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{host}" for host in hosts)])
    extensions = ("-addext", "basicConstraints=CA:FALSE", "-addext", f"subjectAltName={names}")
    signed = ("-CA", made.alone, "-CAkey", own_key, *extensions)
    _request("-keyout", made.key, "-out", made.certificate, "-subj", "/CN=localhost", *signed)
    made.bundle.write_bytes(_SYSTEM.read_bytes() + made.alone.read_bytes())
    return made


def _request(*arguments: str | Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, "-days", "2", *map(str, arguments)], check=True, capture_output=True)
