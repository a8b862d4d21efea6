"""Two images for clusters without any other registry: one that sleeps, one with a shell and its tools."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["push_small_image"]

_BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static


def push_small_image(
    reference: str, command: Sequence[str], *, user: str = "", files: Mapping[str, bytes] | None = None
) -> str:
    """Push an image of busybox over plain HTTP (with skopeo); returns its digest.

    Parameters:
        reference: with registry and tag.
        command: what it runs when nothing else is said.
        user: whom as.
        files: programs and whatever else makes it another image, and larger, by path (``bin/x``).
    """
    layer = _layer(files or {})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"], "User": user},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    with tempfile.TemporaryDirectory() as directory:
        blobs = Path(directory) / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def put(content: bytes, media_type: str) -> dict[str, Any]:
            digest = _digest(content)
            (blobs / digest.removeprefix("sha256:")).write_bytes(content)
            return {"mediaType": media_type, "digest": digest, "size": len(content)}

        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [put(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
        described = put(json.dumps(manifest).encode(), manifest["mediaType"])
        (Path(directory) / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": [described]})
        )
        (Path(directory) / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        copy = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ]
        subprocess.run([*copy, f"oci:{directory}", f"docker://{reference}"], check=True, capture_output=True)
        return str(described["digest"])


def _layer(files: Mapping[str, bytes]) -> bytes:
    applets = subprocess.run([str(_BUSYBOX), "--list"], check=True, capture_output=True, text=True)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        for name, content in {"bin/busybox": _BUSYBOX.read_bytes(), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return made.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
