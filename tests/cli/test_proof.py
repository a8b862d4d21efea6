"""What `inspect`, `diff` and `verify` print."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.cli.proof_documents import verify_document
from envbuild.cli.verify import _text as verdict_text
from envbuild.image.layout import write_layout
from envbuild.lock.lockfile import dump_lock
from envbuild.pack import recipe
from envbuild.proof.configuration import ConfigChange
from envbuild.proof.verification import FileVerdict, ImageVerdict, LayerVerdict
from envbuild.proof.verifier import Verification
from envbuild.store import Store
from envbuild.store.images import record_image
from tests.inspection.conftest import LOCK, Studio
from tests.support.locks import small_wheel

BUMPED = replace(
    LOCK,
    cutoff="2026-02-02T00:00:00Z",
    kernels=("geo",),
    targets=(
        replace(
            LOCK.targets[0],
            wheels=(
                replace(
                    small_wheel("numpy", "2.1"),
                    artifact=replace(small_wheel("numpy", "2.1").artifact, sha256="a" * 64),
                ),
                small_wheel("scipy", "1.9"),
            ),
        ),
    ),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two locks and the image of each."""
    monkeypatch.setattr("envbuild.inspection.inspector.host_platform", lambda: "linux/amd64")
    store = Store(tmp_path / "cache")
    store.prepare()
    studio = Studio(store)
    for name, lock in (("old", LOCK), ("new", BUMPED)):
        (tmp_path / f"{name}.lock").write_bytes(dump_lock(lock))
        image = studio.image(lock)
        record_image(store, f"{name}:latest", image.platform, image.manifest)
        write_layout([image], store, tmp_path / "layouts" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, with digests and sizes, which other tests are about, made alike."""
    assert code == run(arguments)
    shown = capsys.readouterr()
    assert "" == shown.err, shown.err
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:<64>", shown.out)
    text = re.sub(r"sha256:[0-9a-f]{12}…", "sha256:<12>…", text)
    text = re.sub(r"(?m)( +)\S+ (k?B)  [0-9a-f]{12}", r" <size>  <digest>", text)
    text = re.sub(r"LAYER +SIZE", "LAYER <size>", text)
    return re.sub(r"\b[\d.]+ k?B\b", "<size>", text)


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert 0 == run([*arguments, "--json"])
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_inspect_an_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "inspect", "old") == (
        "name    cache:old:latest\n"
        "digest  sha256:<64>\n"
        "\n"
        "platform     linux/amd64\n"
        "image ID     sha256:<64>\n"
        "digest       sha256:<64>\n"
        "content      <size> in 3 layers\n"
        f"made by      envbuild, packing recipe {recipe.VERSION}\n"
        "environment  env-0123456789abcdef\n"
        "lock         sha256:<64>\n"
        "locked       2026-01-01T00:00:00Z by uv, packing recipe 1\n"
        "base         python-3.11 (bookworm, glibc 2.36) of 2026-01-01T00:00:00Z\n"
        "Python       3.11.2\n"
        "kernels      demo, python3\n"
        "\n"
        "LAYER <size>  DIGEST        PACKAGES\n"
        "numpy <size>  <digest>  numpy 2.0\n"
        "pandas <size>  <digest>  pandas 3.0\n"
        "environment, kernels and entry point <size>  <digest>\n"
        "\n"
        "LABEL\n"
        "dev.envbuild.env                  env-0123456789abcdef\n"
        "dev.envbuild.lock.digest          sha256:<64>\n"
        f"dev.envbuild.recipe               {recipe.VERSION}\n"
        "org.opencontainers.image.created  2026-01-01T00:00:00Z\n"
        "org.opencontainers.image.title    demo\n"
        "repo2docker.ref                   None\n"
        "repo2docker.repo                  local\n"
        "repo2docker.version               envbuild\n"
    )


def test_inspect_a_lock(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "inspect", "new.lock") == (
        "name       new.lock\n"
        "digest     sha256:<64>\n"
        "locked     2026-02-02T00:00:00Z by uv, packing recipe 1\n"
        "base       python-3.11 (bookworm, glibc 2.36) of 2026-01-01T00:00:00Z\n"
        "Python     3.11.2\n"
        "kernels    demo, geo, python3\n"
        "packages   2 for linux/amd64\n"
        "platforms  linux/amd64\n"
    )


def test_the_documents_of_inspect(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every key that docs/schemas.md has."""
    lock, image = document(capsys, "inspect", "old.lock"), document(capsys, "inspect", "oci:layouts/old")

    assert ("lock", {"linux/amd64": {"numpy": "2.0", "pandas": "3.0"}}) == (
        lock["kind"],
        lock["lock"]["packages"],
    )
    assert lock["lock"] == image["images"][0]["lock"]
    assert lock["digest"] == image["images"][0]["lock_digest"]
    schemas = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text()
    section = schemas.partition("## inspect\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"`([a-z_]+)(?:\[\])?`", section))
    assert _keys(image) | _keys(lock) <= described


def _keys(value: Any) -> set[str]:
    """All keys of a document, but those of tables whose keys are data."""
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, inner in value.items():
        if key not in ("packages", "labels", "variables", "annotations", "seconds"):
            found |= _keys(inner)
    return found


def test_diff_of_locks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = (
        "settings: 1 changed\n"
        "  ~  locked  2026-01-01T00:00:00Z -> 2026-02-02T00:00:00Z\n"
        "kernels: 1 added\n"
        "  +  geo  python\n"
        "packages: 1 added, 1 removed, 1 changed\n"
        "  ~  numpy   2.0 -> 2.1\n"
        "  -  pandas  3.0\n"
        "  +  scipy   1.9\n"
        "layers: 2 of 5 layers shared\n"
        "  -  pandas\n"
        "  ~  numpy\n"
        "  +  scipy\n"
        "  ~  environment, kernels and entry point\n"
    )

    assert expected == printed(capsys, "diff", "old.lock", "new.lock")
    assert expected == printed(capsys, "diff", "old.lock", "new.lock", "--exit-code", code=1)


def test_diff_of_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "diff", "old", "oci:layouts/new")

    assert "packages: 1 added, 1 removed, 1 changed\n" in shown
    assert (
        "layers: 0 of 3 layers shared\n"
        "  -  pandas                                <size>\n"
        "  ~  numpy                                 <size> -> <size>\n"
        "  +  scipy                                 <size>\n"
        "  ~  environment, kernels and entry point  <size> -> <size>\n"
        "to pull: <size>\n"
    ) in shown
    assert "  ~  label dev.envbuild.lock.digest          sha256:<12>… -> sha256:<12>…\n" in shown


@pytest.mark.parametrize("pair", [("old.lock", "old.lock"), ("old", "oci:layouts/old")])
def test_nothing_is_different(here: Path, capsys: pytest.CaptureFixture[str], pair: tuple[str, str]) -> None:
    assert "identical\n" == printed(capsys, "diff", *pair, "--exit-code")


def test_an_image_and_its_lock(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys of the layers of these images are made up, so only packages can be compared."""
    shown = printed(capsys, "diff", "new.lock", "new")

    assert "packages" not in shown
    assert "settings" not in shown


def test_the_documents_of_diff(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemas = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text()
    section = schemas.partition("## diff\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"`([a-z_]+)(?:\[\])?`", section))
    for pair in (("old", "new"), ("old.lock", "new.lock"), ("old.lock", "new")):
        found = document(capsys, "diff", *pair)

        assert (False, False) == (found["identical"], found["same"])
        assert _keys(found) <= described


SAME = LayerVerdict("numpy", "same", ("numpy==2.0",), "sha256:a", "sha256:a")
IMAGE = ImageVerdict(
    "linux/amd64", "sha256:i", "sha256:m", "sha256:i", "sha256:m", (SAME,), (), str(recipe.VERSION)
)


def verdict(*verdicts: ImageVerdict, name: str | None = "oci:demo") -> list[str]:
    return verdict_text(verify_document(Verification(name, verdicts), None, {}))


def test_a_proven_image() -> None:
    assert [
        "image  oci:demo",
        "",
        "platform  linux/amd64",
        "image ID  sha256:i",
        "proven: 1 layer, config and manifest are what the lock makes, byte for byte",
    ] == verdict(IMAGE)


def test_a_proven_image_that_is_compressed_otherwise() -> None:
    shown = verdict(replace(IMAGE, digest="sha256:n", layers=(replace(SAME, state="encoded"),)))

    assert (
        "proven: 1 layer and config are what the lock makes; compressed or described otherwise" == shown[-1]
    )


def test_two_builds_that_are_the_same() -> None:
    assert "image  none: two builds are compared" == verdict(IMAGE, name=None)[0]


def test_an_image_that_is_something_else() -> None:
    files = (
        FileVerdict("srv/a.py", ("content: line 1 is 'x' instead of 'y'", "mode 0777 instead of 0644")),
        FileVerdict("srv/b.py", ("extra",)),
    )
    layers = (
        SAME,
        LayerVerdict("pandas", "differs", (), "sha256:b", "sha256:c", files=files, differing=5),
        LayerVerdict("scipy", "missing", (), "sha256:d"),
        LayerVerdict("RUN evil", "extra", (), found="sha256:e", trouble="it cannot be unpacked: no tar"),
        replace(SAME, title="six", state="moved"),
    )
    config = (ConfigChange("User", "1000:100", "0"), ConfigChange("label x", None, "1"))
    forged = replace(IMAGE, image_id="sha256:j", digest="sha256:n", layers=layers, config=config, recipe="1")

    shown = verdict(forged)

    assert [
        "differs: 4 of 5 layers",
        "  layer `pandas` differs",
        "    srv/a.py: content: line 1 is 'x' instead of 'y'; mode 0777 instead of 0644",
        "    srv/b.py: extra",
        "    and 3 more",
        "  layer `scipy` is missing",
        "  layer `RUN evil` is extra",
        "    it cannot be unpacked: no tar",
        "  layer `six` is not in its place",
        "  config: User is 0 instead of 1000:100",
        "  config: label x is 1 instead of nothing",
    ] == shown[4:-1]
    assert shown[-1].startswith("  hint: it was made with packing recipe 1, this envbuild has ")


def test_the_document_of_verify() -> None:
    schemas = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text()
    section = schemas.partition("## verify\n")[2].partition("\n## ")[0]
    layer = replace(SAME, files=(FileVerdict("a", ("extra",)),))
    found = verify_document(
        Verification("demo", (replace(IMAGE, layers=(layer,), config=(ConfigChange("a", "b", "c"),)),)),
        None,
        {},
    )

    assert _keys(found) <= set(re.findall(r"`([a-z_]+)(?:\[\])?`", section))


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("inspect", "cache:nothing"), 2, "no-image-there"),
        (("inspect", "missing.lock"), 2, "no-lock-there"),
        (("diff", "old", "missing.lock"), 2, "no-lock-there"),
        (("verify", "--image", "cache:nothing"), 2, "no-image-there"),
        (("verify", "--image", "old.lock"), 2, "not-an-image"),
        (("verify", "nowhere"), 2, "source-not-found"),
        (("inspect", "oci:layouts/old", "--platform", "linux/s390x"), 2, "no-such-platform"),
    ],
)
def test_errors(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str
) -> None:
    assert code == run([*arguments, "--json"])
    assert error == json.loads(capsys.readouterr().out)["error"]
