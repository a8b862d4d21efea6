"""Fleet files: what is read, and that everything else is refused where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.fleet.model import (
    Environment,
    Fleet,
    GitSource,
    ImageSource,
    LockSource,
    Pool,
    Resources,
    Toleration,
)
from envbuild.fleet.read import read_fleet
from envbuild.image.reference import parse_reference

_EXAMPLE = Path(__file__).parents[2] / "examples/fleet/fleet.toml"
_HEAD = (
    '[fleet]\nname = "f"\nregistry = "r.example.org/envs"\n[pools.cpu]\n[pools.gpu]\ngpu = "nvidia.com/gpu"\n'
)
_ONE = '[environments.a]\nimage = "r.example.org/a:1"\n'  # its lines are 7 and 8


def _written(folder: Path, text: str | bytes) -> Path:
    path = folder / "fleet.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_example_is_read() -> None:
    """All that can be said, as the documentation says it."""
    general = Pool(
        "general",
        selector=(("node.example.org/pool", "general"),),
        disk=100_000_000_000,
        keep_previous=True,
    )
    gpu = Pool(
        "gpu",
        selector=(("node.example.org/pool", "gpu"),),
        tolerations=(Toleration("nvidia.com/gpu", "Exists", "", "NoSchedule"),),
        gpu="nvidia.com/gpu",
        disk=200_000_000_000,
    )
    quickstart = Environment(
        "quickstart",
        LockSource(_EXAMPLE.parent / "../quickstart/envbuild.lock"),
        display_name="Quickstart",
        description="NumPy, pandas and Matplotlib",
        pools=("general",),
        resources=Resources(0.5, 2, 1_000_000_000, 4_000_000_000),
        idle_timeout=3600,
        default=True,
        launches=400,
    )
    rivers = Environment(
        "rivers",
        GitSource("https://git.example.org/hydrology/rivers.git", "main", "notebooks"),
        display_name="Rivers",
        description="Discharge models",
        pools=("general", "gpu"),
        resources=Resources(1, 8, 4_000_000_000, 16_000_000_000, gpu=1),
        idle_timeout=1800,
        users=("ada",),
        groups=("hydrology",),
        launches=35,
        variables=(("RIVERS_DATA", "/srv/rivers"),),
    )
    teaching = Environment(
        "teaching",
        ImageSource(parse_reference("registry.example.org/teaching/course:2026")),
        display_name="Course 2026",
        pools=("general",),
        resources=Resources(memory_limit=2_000_000_000),
    )
    expected = Fleet(
        name="science",
        path=_EXAMPLE,
        environments=(quickstart, rivers, teaching),
        pools=(general, gpu),
        registry="registry.example.org/team/envs",
        namespace="jupyter",
        pull_secrets=("registry-login",),
    )
    assert expected == read_fleet(_EXAMPLE)


@pytest.mark.parametrize(
    ("more", "code", "line", "said"),
    [
        ("[environments.a]\nimage = 'b'\n", "bad-toml", 9, "write every table and every key once"),
        ("image = 'b'\n", "bad-toml", 9, "write every table and every key once"),
        ("[environments.A]\nimage = 'b'\n", "duplicate-name", 9, "'a' (line 7)"),
        ("[environments.B_c]\nimage = 'b'\n", "bad-fleet-name", 9, "write [environments.b-c]"),
        ("[environments.'日本']\nimage = 'b'\n", "bad-fleet-name", 9, "choose another name"),
        ("[pools.CPU]\n", "duplicate-name", 9, "'cpu' (line 4)"),
        ("[pools.c]\nkeep-previous = 1\n", "bad-fleet-value", 10, "true or false"),
        ("default = true\n[environments.b]\nimage = 'b'\ndefault = true\n", "two-defaults", 12, "a (line 9)"),
        ("pools = ['gpu',\n'cpus']\n", "unknown-pool", 10, "did you mean 'cpu'?"),
        ("pools = ['gpu', 'gpu']\n", "bad-fleet-value", 9, "twice"),
        ("displayname = 'x'\n", "unknown-fleet-key", 9, "write 'display-name'"),
        ("[defaults]\n", "unknown-fleet-key", 9, "'defaults' at the top"),
        ("[environments]\nb = 3\n", "bad-fleet-value", 10, "must be a table"),
        ("lock = 'envbuild.lock'\n", "not-one-source", 9, "image and lock"),
        ("[environments.b]\n", "not-one-source", 9, "write one of image, lock and git"),
        ("ref = 'main'\n", "bad-fleet-value", 9, "goes only with git"),
        ("memory = '4 GB'\n", "bad-fleet-value", 9, 'write memory = { limit = "4 GB" }'),
        ("memory = { limit = 4 }\n", "bad-fleet-value", 9, 'a size, like "4 GB"'),
        ("memory = { limit = '4 gigs' }\n", "bad-fleet-value", 9, "'4 gigs'"),
        ("[environments.a.memory]\nrequest = '2Gi'\nlimit = '2 GB'\n", "bad-fleet-value", 10, "request less"),
        ("cpu = { limit = '2 cores' }\n", "bad-fleet-value", 9, '"500m"'),
        ("cpu = { limit = 0 }\n", "bad-fleet-value", 9, "between 0.001 and"),
        ("cpu = { limit = nan }\n", "bad-fleet-value", 9, "a number of cores"),
        ("gpu = -1\n", "bad-fleet-value", 9, "from 0 to"),
        ("gpu = 1\npools = ['cpu']\n", "gpu-without-pool", 9, "a pool that has gpu"),
        ("idle-timeout = '1 hour'\n", "bad-fleet-value", 9, '"45 min"'),
        ("idle-timeout = 3600\n", "bad-fleet-value", 9, "a length of time"),
        ("node-selector = { 'a b' = 'c' }\n", "bad-fleet-value", 9, "key of a label"),
        ("node-selector = { a = '-' }\n", "bad-fleet-value", 9, "value of a label"),
        ("tolerations = [\n{ key = 'k', effect = 'Never' }]\n", "bad-fleet-value", 10, "PreferNoSchedule"),
        ("tolerations = [{ effect = 'NoExecute' }]\n", "bad-fleet-value", 9, "tolerates everything"),
        ("tolerations = [{ operator = 'Exists', value = 'v' }]\n", "bad-fleet-value", 9, "Equal"),
        ("users = [' ada']\n", "bad-fleet-value", 9, "user or a group"),
        ("users = 'ada'\n", "bad-fleet-value", 9, "a list of texts"),
        ("default = 'yes'\n", "bad-fleet-value", 9, "true or false"),
        ("display-name = 'x\\ny'\n".replace("'", '"'), "bad-fleet-value", 9, "one line"),
        ('description = "\\u0000"\n', "bad-fleet-value", 9, "description"),
        ("variables = { 'A B' = 'c' }\n", "bad-fleet-value", 9, "name of a variable"),
        ("variables = { JUPYTERHUB_API_TOKEN = 'c' }\n", "bad-fleet-value", 9, "set by the hub"),
        ("variables = { A = 1 }\n", "bad-fleet-value", 9, "a text in quotes"),
        ("[environments.b]\nimage = 'B b'\n", "bad-image-name", 10, "lower case"),
        ("[environments.b]\ngit = 'ext::sh'\n", "bad-git-address", 10, "https://host/path"),
        ("[environments.b]\ngit = 'https://e.org/r'\nref = '-x'\n", "bad-ref", 11, "branch"),
        ("[environments.b]\ngit = 'https://e.org/r'\nsubdir = '../x'\n", "bad-fleet-value", 11, "directory"),
        ("[environments.b]\nlock = 'notebooks'\n", "bad-fleet-value", 10, "envbuild.lock"),
        ("[pools.x]\nselector = 'a=b'\n", "bad-fleet-value", 10, "must be a table"),
        ("[pools.x]\nplatform = 'linux/riscv64'\n", "bad-fleet-value", 10, "linux/arm64"),
        ("[pools.x]\ngpu = 1\n", "bad-fleet-value", 10, "in quotes"),
        ("[pools.x]\ndisk = '1.5 B'\n", "bad-fleet-value", 10, "a size"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, more: str, code: str, line: int | None, said: str
) -> None:
    path = _written(tmp_path, _HEAD + _ONE + more)
    with pytest.raises(UsageError) as raised:
        read_fleet(path)
    error = raised.value
    assert (code, str(path)) == (error.code, error.file)
    assert line is None or line == error.line
    assert said in f"{error.message} · {error.remedy}"
    assert error.remedy


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "no-fleet-name", None),
        ("[fleet]\nnamespace = 'x'\n" + _ONE, "no-fleet-name", 1),
        ("[fleet]\nname = 'Not a label'\n" + _ONE, "bad-fleet-value", 2),
        ("[fleet]\nname = 'f'\npull-secrets = ['A']\n" + _ONE, "bad-fleet-value", 3),
        ("[fleet]\nname = 'f'\nregistry = 'https://r.example.org'\n" + _ONE, "bad-fleet-value", 3),
        ("[fleet]\nname = 'f'\n", "no-environments", None),
        ("[fleet]\nname = 'f'\n[environments.a]\ngit = 'https://e.org/r'\n", "no-registry", 3),
        ("fleet = 3\n", "bad-fleet-value", 1),
        ("a\n= 1", "bad-toml", 1),
        (b"# \xe9\n", "bad-encoding", 1),
        ("x = " + "[" * 20_000, "bad-toml", None),
        ("x = " + "1" * 20_000, "bad-toml", None),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(
    tmp_path: Path, text: str | bytes, code: str, line: int | None
) -> None:
    with pytest.raises(UsageError) as raised:
        read_fleet(_written(tmp_path, text))
    assert (code, line) == (raised.value.code, raised.value.line)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    pins = tmp_path / "fleet.lock"
    pins.write_text("version = 1\n")
    for path, code in (
        (tmp_path / "none.toml", "no-fleet-file"),
        (tmp_path, "fleet-not-readable"),
        (pins, "bad-fleet-name"),
    ):
        with pytest.raises(UsageError) as raised:
            read_fleet(path)
        assert code == raised.value.code


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = _written(tmp_path, _HEAD + "[environments.b]\ngit = 'https://me:s3cret@example.org/r.git'\n")
    with pytest.raises(UsageError) as raised:
        read_fleet(path)
    assert ("credentials-in-fleet", 8) == (raised.value.code, raised.value.line)
    assert "s3cret" not in str(raised.value.to_json())


_PIECES = st.sampled_from(
    [
        *(
            "[fleet]\n",
            "[pools.p]\n",
            "[environments.e]\n",
            "[[environments]]\n",
            "[environments.e.memory]\n",
        ),
        *("name", "image", "git", "lock", "pools", "memory", "tolerations", "variables", "users", "default"),
        *(" = ", "'x'", '"f"', "1", "1e999", "true", "{ limit = '1 GB' }", "['p']", "[{}]", "{}", "\n"),
        *("1979-05-27", "'''\n", '"""', "\\", "[", "]", "{", "}", ",", "#", ".", "\x00", "\r", "é"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.lists(_PIECES, max_size=30).map("".join) | st.text(max_size=60))
@example(text=_HEAD + "[[environments.a]]\nimage = 'b'")
@example(text=_HEAD + "[environments]\na = ['b']")
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    """Never another exception; and what is wrong has a remedy."""
    for prefix in ("", _HEAD + _ONE):
        try:
            fleet = read_fleet(_written(tmp_path, (prefix + text).encode("utf-8", "surrogatepass")))
        except UsageError as error:
            assert error.remedy and error.file
        else:
            assert fleet.environments
