"""The command as a whole, as far as it needs no network and no engine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import envbuild
from envbuild.binder import program
from envbuild.binder.arguments import read_arguments
from envbuild.binder.credentials import GIT, REGISTRY
from envbuild.errors import UsageError

_URL = "https://example.org/team/rivers.git"
_PUSH = "--json-logs --no-run --push --image r.example.org"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory and a cache of our own; no variable stays set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {**os.environ, "ENVBUILD_CACHE_DIR": str(tmp_path / "cache")})


def _lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param(
            "--push --no-run --image r.example.org/x:1 .", "build . -t r.example.org/x:1 --push", id="push"
        ),
        pytest.param("--no-run --image x:1 .", "build . -t x:1 --load --engine docker", id="load"),
        pytest.param(
            "--push --image r.example.org/x:1 .",
            "build . -t r.example.org/x:1 --push --load --engine docker",
            id="push and run",
        ),
        pytest.param(
            "--no-run --engine podman --image x --subdir a/b .",
            "build . --subdir a/b -t x --load --engine podman",
            id="podman",
        ),
    ],
)
def test_one_build_of_envbuild(line: str, command: str) -> None:
    request = read_arguments(line.split(), {})

    assert command.split() == program.build_command(request, ".", program.image_name(request))


@pytest.mark.parametrize("early", [True, False])
def test_an_interrupt_has_the_shells_code_and_waits_for_nothing(
    early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def run(arguments: list[str]) -> int:
        if early:
            raise KeyboardInterrupt
        return 130

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(os, "_exit", end)

    with pytest.raises(Ended, match="130"):
        program.main()


def test_images_without_a_name_get_one_of_the_repository() -> None:
    names = {
        program.image_name(read_arguments(line.split(), {}))
        for line in (_URL, f"--ref v1 {_URL}", f"--subdir a {_URL}", f"--subdir a --ref v1 {_URL}")
    }

    assert (4, True) == (len(names), all(name.startswith("r2d-rivers-") for name in names))
    with pytest.raises(UsageError):
        program.image_name(read_arguments(["--push", _URL], {}))


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert [0, 0] == [program.run(["--version"]), program.run(["--help-all"])]
    out = capsys.readouterr().out
    assert (f"envbuild {envbuild.__version__}", True) == (out.splitlines()[0], "--build-memory-limit" in out)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        pytest.param("--json-logs", 2, "required", id="nothing to build"),
        pytest.param("--json-logs --appendix RUN .", 2, "Dockerfile", id="refused"),
        pytest.param("--json-logs --push .", 2, "--push needs to know where to", id="push whereto"),
        pytest.param(f"{_PUSH}/X .", 2, "image", id="no image name"),
        pytest.param(f"{_PUSH}/x nowhere", 2, "nowhere", id="no such directory"),
        pytest.param(f"{_PUSH}/x --subdir b .", 2, "'b'", id="no such part of it"),
    ],
)
def test_what_fails_is_told_once_and_last(
    line: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code == program.run(line.split())

    output = capsys.readouterr()
    told = _lines(output.err)
    assert ("", ["failed"]) == (output.out, [line["phase"] for line in told if line["phase"] == "failed"])
    assert ("failed", True) == (told[-1]["phase"], says in told[-1]["message"])


def test_without_json_logs_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == program.run(["--appendix", "RUN x", "."])

    assert "error: --appendix is a piece of a Dockerfile" in capsys.readouterr().err


def test_bad_credentials_are_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["CONTAINER_ENGINE_REGISTRY_CREDENTIALS"] = '{"password": "s3cret"'

    assert 2 == program.run(["--json-logs", "--push", "--image", "r.example.org/x", "."])

    (line,) = _lines(capsys.readouterr().err)
    assert ("failed", False) == (line["phase"], "s3cret" in line["message"])


def test_no_build_is_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tmp_path / "rivers"
    repository.mkdir()
    (repository / "requirements.txt").write_text("six\n")

    assert 0 == program.run(["--no-build", str(repository)])
    assert "requirements.txt" in capsys.readouterr().out


# A command line and variables are bytes, and any but NUL.
_BYTES = st.binary(max_size=6).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
_WORDS = st.sampled_from(
    [
        *("--no-run", "--push", "--no-build", "--image", "r.example.org/x:1", "--ref", "v1", "--subdir"),
        *("--user-id", "9" * 5000, "--appendix", "", "--env", "A=1", "--volume", "/a:/b", "-p", "8888:8888"),
        *("--editable", "--engine", "podman", "--build-memory-limit", "1G", "--", "-", ".", "#", "//", "\n"),
        *("--Repo2Docker.platform=linux/amd64", "--config", "--build-arg", "https://[x", "git@x:y"),
        *("https://me:s3cr3t@example.org/r.git", _URL, "10.5281/zenodo.1", "a" * 300, "a/" * 3000),
    ]
)
_VARIABLES = st.dictionaries(
    st.sampled_from([GIT, REGISTRY, "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "HOME", "A"]),
    _BYTES | st.sampled_from([r"username=\udcff\npassword=b", "[" * 20_000, "{}", "[]", '{"auths": 3}']),
    max_size=3,
)
_HALF = '{"registry": "r.example.org", "username": "\\ud800", "password": "b"}'


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(_WORDS | _BYTES, max_size=7), variables=_VARIABLES)
@example(arguments=["--no-run", _URL + "/\udcff"], variables={})
@example(arguments=["--no-run", "--image", "x", _URL], variables={GIT: "username=\udcff\npassword=b"})
@example(arguments=["--push", "--image", "r.example.org/x", _URL], variables={REGISTRY: _HALF})
@example(arguments=["--editable", "--image", "x", "a" * 300], variables={})
@example(arguments=["--no-run", "--image", "x", _URL], variables={"HOME": "a" * 300})
def test_any_command_line_is_carried_out_or_refused(
    arguments: list[str],
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With one of the codes there are; what is refused is told as JSON, and without a password."""
    monkeypatch.setattr(os, "environ", variables)
    monkeypatch.setattr(program, "_envbuild", lambda arguments: 0)
    monkeypatch.setattr(program, "_build", lambda *_: (0, "docker"))
    monkeypatch.setattr(program, "_run", lambda *_: 0)
    try:
        code = program.run(["--json-logs", *arguments])
    except SystemExit as ended:  # --help
        code = int(ended.code or 0)

    assert code in (0, 1, 2)
    told = capsys.readouterr().err
    assert all({"message", "phase"} == set(line) for line in _lines(told))
    assert "s3cr3t" not in told
