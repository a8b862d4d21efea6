"""Building a context on a Docker Engine through its SDK, and taking the image into the store."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import IO, Any

from envbuild.builder.context import Context
from envbuild.engine.docker_container import docker_errors
from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.image.config import canonical, image_manifest
from envbuild.image.model import Image, Layer
from envbuild.pack.blob import pack_stream
from envbuild.progress import Reporter, Stage
from envbuild.source.text import clean, printable, redact
from envbuild.store import Store

__all__ = ["build_context", "take_image"]

_KEPT_LINES = 40
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
# How the tools that Dockerfiles usually call, and Docker itself, say that a server cannot be reached.
_UNREACHABLE = re.compile(
    r"(?:could not resolve host|temporary failure (?:in name resolution|resolving)"
    r"|unable to resolve host address|no such host|network is unreachable|name or service not known"
    r"|could not connect to server|server misbehaving|request canceled while waiting for connection"
    r"|failed to connect to|connection timed out|i/o timeout|connection refused|couldn't connect to"
    r"|tls handshake timeout)"
    r"[:\s]*[‘'\"]?([A-Za-z0-9.-]+\.[A-Za-z]{2,})?",
    re.IGNORECASE,
)
_LOOKED_UP = re.compile(r"lookup ([A-Za-z0-9.-]+)")
_ASKED = re.compile(r"Get \"?https?://([A-Za-z0-9.-]+)")
_NEEDS_BUILDKIT = re.compile(
    r"requires BuildKit|unknown instruction: \S*|Unknown flag: (?:mount|link|parents)", re.I
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def build_context(
    client: Any,
    context: Context,
    *,
    file: str,
    tag: str,
    labels: Mapping[str, str],
    platform: str,
    environment: Mapping[str, str],
    reporter: Reporter,
) -> str:
    """Build ``context`` and return the image's id (``sha256:...``).

    Parameters:
        client: of Docker's SDK.
        file: the repository's file that asked for this, for messages.
        tag: the name the daemon keeps the image under.
        environment: the user's variables; proxies are passed on. Docker keeps these out of the image.

    Raises:
        RepoError: a step failed; names it, with the end of its output in ``detail``.
        RemoteError: a step failed because a server cannot be reached.
        MachineError: the engine failed.
    """
    proxies = {name: value for name, value in environment.items() if name.upper() in _PROXIES}
    with (
        docker_errors(),
        reporter.stage("build", unit="steps") as stage,
        context.archive.open("rb") as archive,
    ):
        events = client.api.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=context.dockerfile,
            tag=tag,
            labels=dict(labels),
            buildargs={**proxies, **context.arguments},
            platform=platform,
            rm=True,
            forcerm=True,
            decode=True,
        )
        with closing(events):
            return _follow(events, file, stage)


def _follow(events: Iterator[dict[str, Any]], file: str, stage: Stage) -> str:
    """Read the daemon's report to its end; returns the image's id."""
    step = ""
    lines: list[str] = []
    image = ""
    for event in events:
        if "error" in event:
            raise _failure(str(event["error"]), step, lines, file)
        if "aux" in event and "ID" in event["aux"]:
            image = str(event["aux"]["ID"])
        for line in str(event.get("stream", "")).splitlines():
            if match := _STEP.match(line):
                step = match[3]
                lines.clear()
                stage.detail(f"{match[1]}/{match[2]} {step}")
                stage.advance(1)
            elif line.strip():
                lines.append(printable(line))
                del lines[:-_KEPT_LINES]
    if not image:
        raise MachineError("Docker ended the build without naming an image", code="docker-failed")
    return image


def _failure(said: str, step: str, lines: list[str], file: str) -> EnvbuildError:
    said = redact(said)
    output = "\n".join([*lines, said])
    place = f"the step `{clean(step)}` failed" if step else "the build failed"
    if _NEEDS_BUILDKIT.search(said):
        return RepoError(
            f"{place}: {clean(said)}",
            code="needs-buildkit",
            file=file,
            remedy="envbuild builds with Docker's own builder: write the step without what BuildKit adds",
        )
    if match := _UNREACHABLE.search(output):
        named = _LOOKED_UP.search(output) or _ASKED.search(output)
        host = match[1] or (named[1] if named else "a server it needs")
        return RemoteError(
            f"{place}: {host} cannot be reached",
            code="build-unreachable",
            file=file,
            remedy="check the network and the proxy settings of the engine, then try again",
            detail=output,
        )
    return RepoError(
        f"{place}: {clean(said)}",
        code="build-failed",
        file=file,
        remedy="correct the step; its last output is below",
        detail=output,
    )


def take_image(client: Any, identifier: str, *, store: Store, compression: str, reporter: Reporter) -> Image:
    """Bring an image of the daemon into the store, as it is: its config, so its image ID, does not change.

    Raises:
        MachineError: the engine failed, or its archive is not as the image specification has it.
    """
    with store.temporary_file() as path, reporter.stage("take") as stage:
        with docker_errors(), path.open("wb") as stream:
            for chunk in client.api.get_image(identifier):
                stream.write(chunk)
        stage.add_total(path.stat().st_size)
        try:
            with tarfile.open(path) as archive:
                return _read(archive, store, compression, stage)
        except (tarfile.TarError, KeyError, ValueError, TypeError, IndexError) as error:
            raise MachineError(
                f"the archive that Docker made of the image cannot be read: {error}", code="docker-failed"
            ) from error


def _read(archive: tarfile.TarFile, store: Store, compression: str, stage: Stage) -> Image:
    listing = json.loads(_member(archive, "manifest.json").read())[0]
    data = _member(archive, listing["Config"]).read()
    config = json.loads(data)
    diff_ids = config["rootfs"]["diff_ids"]
    titles = [
        entry.get("created_by", "") for entry in config.get("history", ()) if not entry.get("empty_layer")
    ]
    layers = []
    for number, (name, diff_id) in enumerate(zip(listing["Layers"], diff_ids, strict=True)):
        packed = pack_stream(store, _chunks(_member(archive, name)), compression)
        if packed.diff_id != diff_id:
            raise ValueError(f"layer {number} is not the one its config names")
        stage.advance(packed.raw_size)
        title = clean(titles[number]) if number < len(titles) else f"layer {number}"
        layers.append(
            Layer(title, packed.diff_id, packed.digest, packed.size, packed.raw_size, packed.compression)
        )
    stored = store.put_blob(data)
    manifest = image_manifest(config, layers, config_digest=stored.digest, config_size=stored.size)
    platform = f"{config['os']}/{config['architecture']}"
    return Image(platform, stored, store.put_blob(canonical(manifest)), tuple(layers))


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = archive.extractfile(name)  # follows the links with which older daemons spare repeated layers
    if stream is None:
        raise ValueError(f"{name} is not a file")
    return stream


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk
