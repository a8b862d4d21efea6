"""Wheels as layer entries: places, scripts, RECORD, bytecode, and wheels that want to do harm."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from envbuild.errors import RepoError
from envbuild.pack.bytecode import Compiler
from envbuild.pack.tar import Entry, complete, write_tar
from envbuild.pack.wheel import Prefix, wheel_entries
from tests.support.index import WheelFile, make_wheel

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
PREFIX = Prefix("srv/env", MINOR)
SITE = f"srv/env/lib/python{MINOR}/site-packages"


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler([os.path.realpath(sys.executable)], {}) as running:
        yield running


def unpack(wheel: WheelFile, compiler: Compiler, scratch: Path) -> dict[str, bytes]:
    """The files a wheel becomes, by path."""
    path = scratch / "0123"
    path.write_bytes(wheel.data)
    with ExitStack() as stack:
        entries = wheel_entries(path, wheel.filename, PREFIX, compiler, scratch / "spool", stack)
        return {entry.path.decode(): b"".join(entry.chunks()) for entry in entries}


def test_files_scripts_data_and_headers_go_where_installers_put_them(
    compiler: Compiler, tmp_path: Path
) -> None:
    wheel = make_wheel(
        "demo",
        files={
            "demo/__init__.py": b"value = 1\n",
            "demo-1.0.data/scripts/tool": b"#!python -u\nprint(1)\n",
            "demo-1.0.data/data/share/jupyter/x.json": b"{}",
            "demo-1.0.data/headers/demo.h": b"int x;",
        },
        entry_points="[console_scripts]\ndemo = demo.cli:main.run\n",
    )

    files = unpack(wheel, compiler, tmp_path)

    assert files[f"{SITE}/demo/__init__.py"] == b"value = 1\n"
    assert files["srv/env/bin/tool"] == b"#!/srv/env/bin/python3 -u\nprint(1)\n"
    assert files["srv/env/share/jupyter/x.json"] == b"{}"
    assert files[f"srv/env/include/site/python{MINOR}/demo/demo.h"] == b"int x;"
    assert files["srv/env/bin/demo"].decode().splitlines() == [
        "#!/srv/env/bin/python3",
        "import sys",
        "from demo.cli import main",
        "",
        'if __name__ == "__main__":',
        "    sys.exit(main.run())",
    ]
    assert files[f"{SITE}/demo-1.0.dist-info/INSTALLER"] == b"envbuild\n"


def test_record_lists_every_file_with_its_true_hash(compiler: Compiler, tmp_path: Path) -> None:
    wheel = make_wheel("demo", entry_points="[console_scripts]\ndemo = demo:main\n")

    files = unpack(wheel, compiler, tmp_path)

    record = files[f"{SITE}/demo-1.0.dist-info/RECORD"].decode()
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(record))}
    assert {os.path.normpath(f"{SITE}/{path}") for path in rows} == set(files)
    assert list(rows) == sorted(rows)
    for path, (digest, size) in rows.items():
        data = files[os.path.normpath(f"{SITE}/{path}")]
        if digest:
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(data)))
        else:
            assert path.endswith((".pyc", "RECORD"))


def test_bytecode_is_unchecked_and_imports(compiler: Compiler, tmp_path: Path) -> None:
    """The interpreter takes the .pyc although source and time stamp are gone."""
    wheel = make_wheel("demo", files={"demo.py": b"value = 42\n", "broken.py": b"print 1\n"})

    files = unpack(wheel, compiler, tmp_path)

    code = files[f"{SITE}/__pycache__/demo.cpython-{MINOR.replace('.', '')}.pyc"]
    assert code[:4] == importlib.util.MAGIC_NUMBER
    assert code[4:8] == b"\x01\0\0\0"
    assert not [path for path in files if "broken.cpython" in path]
    (tmp_path / "demo.pyc").write_bytes(code)
    run = subprocess.run(
        [sys.executable, "-c", "import demo; print(demo.value, demo.__file__)"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split()[0] == "42"


def test_test_suites_get_no_bytecode(compiler: Compiler, tmp_path: Path) -> None:
    wheel = make_wheel("demo", files={"demo/tests/test_x.py": b"1\n", "demo/testing.py": b"1\n"})

    files = unpack(wheel, compiler, tmp_path)

    assert [path for path in files if path.endswith(".pyc")] == [
        f"{SITE}/demo/__pycache__/testing.cpython-{MINOR.replace('.', '')}.pyc"
    ]


@pytest.mark.parametrize(
    "member",
    ["../../../../../evil", "demo-1.0.data/scripts/../../../../evil", "demo-1.0.data/data/../../../evil"],
)
def test_path_traversal_is_refused(member: str, compiler: Compiler, tmp_path: Path) -> None:
    wheel = make_wheel("demo", hostile_members={member: b"evil"})

    with pytest.raises(RepoError) as caught:
        unpack(wheel, compiler, tmp_path)

    assert caught.value.code in ("unsafe-wheel", "bad-wheel")
    assert wheel.filename in caught.value.message


@pytest.mark.parametrize(
    "entry_point",
    ["x = os:system", "../x = a:b", "x = a;import os:b", "x = a:b()"],
)
def test_entry_points_cannot_smuggle_code_or_paths(
    entry_point: str, compiler: Compiler, tmp_path: Path
) -> None:
    """A script is written for the first only; it calls os.system with no argument, as asked."""
    wheel = make_wheel("demo", entry_points=f"[console_scripts]\n{entry_point}\n")

    if entry_point == "x = os:system":
        assert b"sys.exit(system())" in unpack(wheel, compiler, tmp_path)["srv/env/bin/x"]
    else:
        with pytest.raises(RepoError):
            unpack(wheel, compiler, tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "no dist-info", "not a zip", "flipped", "leads nowhere"])
def test_damaged_wheels_are_named(damage: str, compiler: Compiler, tmp_path: Path) -> None:
    wheel = make_wheel("demo", padding=3000)
    data = bytearray(wheel.data)
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "not a zip":
        data = bytearray(b"nothing")
    elif damage == "flipped":
        data[900] ^= 0xFF
    elif damage == "leads nowhere":
        data[-4] ^= 0xFF  # where the directory begins: every member is before the beginning of the file
    else:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("demo.py", "")
        data = bytearray(stream.getvalue())

    with pytest.raises(RepoError) as caught:
        unpack(WheelFile(wheel.filename, bytes(data)), compiler, tmp_path)

    assert caught.value.code == "bad-wheel"
    assert wheel.filename in caught.value.message


def tarred(entries: list[Entry]) -> bytes:
    sink = io.BytesIO()
    write_tar(complete(entries), sink)
    return sink.getvalue()


def test_the_same_wheel_gives_the_same_bytes_whatever_was_compiled_before(tmp_path: Path) -> None:
    """Each package is compiled in a fresh process: what came before must not show (cpython#129724)."""
    source = b"def f(a, b):\n    'doc'\n    return {'key': a, 'other': b, 'spam': (1, 2, 'key')}\n" * 20
    subject = make_wheel("subject", files={f"subject/m{number}.py": source for number in range(20)})
    before = make_wheel("before", files={"before.py": source.replace(b"f(", b"spam(")})
    results = []
    for warm in (False, True):
        with Compiler([os.path.realpath(sys.executable)], {}) as running, ExitStack() as stack:
            if warm:
                unpack(before, running, tmp_path)
            path = tmp_path / "subject"
            path.write_bytes(subject.data)
            entries = wheel_entries(path, subject.filename, PREFIX, running, tmp_path / "s", stack)
            results.append(tarred(entries))

    assert results[0] == results[1]
