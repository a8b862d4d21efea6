"""Whose configuration of package indexes counts, and how each tool is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.network.indexes import Indexes, user_indexes

ABC = ["https://a", "https://b", "https://c"]
PQR = ["https://p", "https://q", "https://r"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home, with nothing of this machine's own configuration beside it."""
    (tmp_path / ".config").mkdir()
    return tmp_path


def read(home: Path, **variables: str) -> Indexes:
    kept = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "system"), "PIP_CONFIG_FILE": "/dev/null"}
    return user_indexes({**kept, **variables})


def write(home: Path, name: str, text: str) -> None:
    path = home / ".config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_nothing_is_configured(home: Path) -> None:
    found = read(home)
    assert ((), "", True) == (found.addresses, found.origin, found.remote)


@pytest.mark.parametrize(
    ("variables", "addresses"),
    [
        ("UV_DEFAULT_INDEX=https://a/simple", ["https://a/simple"]),
        ("UV_INDEX_URL=https://a UV_EXTRA_INDEX_URL=https://b,https://c", ABC),
        ("UV_INDEX=corp=https://b/simple", ["https://b/simple"]),
        ("UV_INDEX=c-d=https://b UV_INDEX_C_D_USERNAME=me UV_INDEX_C_D_PASSWORD=p/w", ["https://me:p%2Fw@b"]),
        ("UV_FIND_LINKS=/wheels,https://c", ["/wheels", "https://c"]),
        ("PIP_INDEX_URL=https://p PIP_EXTRA_INDEX_URL=https://q,https://r", PQR),
        ("PIP_INDEX_URL=https://p UV_DEFAULT_INDEX=https://a", ["https://a"]),
        ("PIP_EXTRA_INDEX_URL=file:///wheels,https://q PIP_FIND_LINKS=/wheels", ["https://q"]),
    ],
)
def test_variables(home: Path, variables: str, addresses: list[str]) -> None:
    """The first tool that is told anything counts; directories that only pip is told of do not."""
    pairs = (word.partition("=") for word in variables.split())
    told = {name: value if name == "UV_FIND_LINKS" else value.replace(",", " ") for name, _, value in pairs}
    assert addresses == list(read(home, **told).addresses)


def test_uvs_file(home: Path) -> None:
    write(
        home,
        "uv/uv.toml",
        'keyring-provider = "subprocess"\nallow-insecure-host = ["b"]\n'
        '[[index]]\nname = "x"\nurl = "https://b/simple"\n'
        '[[index]]\nurl = "https://a/simple"\ndefault = true\n',
    )
    found = read(home, PIP_INDEX_URL="https://p")
    assert (("https://a/simple", "https://b/simple"), ("b",), True) == (
        found.addresses,
        found.trusted,
        found.keyring,
    )
    assert (home / ".config/uv/uv.toml").as_posix() == found.origin
    assert ("https://p",) == read(home, PIP_INDEX_URL="https://p", UV_NO_CONFIG="1").addresses


def test_pips_file(home: Path) -> None:
    write(
        home,
        "pip/pip.conf",
        "[global]\nindex-url = https://me:hunter2@p/simple\ntrusted-host = p\n    q\n"
        "[install]\nextra_index_url =\n    https://q\n    https://r\n",
    )
    found = read(home, PIP_CONFIG_FILE="")
    assert ("https://me:hunter2@p/simple", "https://q", "https://r") == found.addresses
    assert "hunter2" not in repr(found)
    assert () == read(home).addresses  # PIP_CONFIG_FILE=/dev/null: no file at all

    told = found.uv_variables({"HOME": "/home/me"})
    assert {
        "HOME": "/home/me",
        "UV_DEFAULT_INDEX": "https://me:hunter2@p/simple",
        "UV_INDEX": "https://q https://r",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "p q",
    } == told


def test_pip_is_told_everything_and_reads_nothing() -> None:
    indexes = Indexes("https://a", ("https://b",), ("/w",), ("h",), True, "uv's variables")
    environment = {
        "HOME": "/h",
        "PIP_TARGET": "/x",
        "PYTHONPATH": "/y",
        "https_proxy": "http://proxy",
        "SSL_CERT_FILE": "",
    }

    told = indexes.pip_variables(environment)

    assert ("https://a", "https://b", "/w", "h", "subprocess", "/dev/null", "http://proxy") == tuple(
        told[key]
        for key in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST",
                    "PIP_KEYRING_PROVIDER", "PIP_CONFIG_FILE", "https_proxy")
    )  # fmt: skip
    assert {"PIP_TARGET", "PYTHONPATH"}.isdisjoint(told)


def test_uv_is_left_alone_when_it_has_settings(home: Path) -> None:
    variables = {"UV_DEFAULT_INDEX": "https://a", "PIP_INDEX_URL": "https://p"}
    assert variables == user_indexes(variables).uv_variables(variables)


def test_an_index_on_this_machine_is_not_remote() -> None:
    assert not Indexes("file:///srv/simple").remote
    assert Indexes("file:///srv/simple", ("https://b",)).remote


@given(text=st.text(max_size=200))
def test_files_with_anything_in_them_are_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in ("uv/uv.toml", "pip/pip.conf"):
        write(home, name, text)
    read(home, PIP_CONFIG_FILE="")
