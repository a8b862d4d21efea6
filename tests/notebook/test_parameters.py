"""Parameters: how they are given, and the code that sets them."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import UsageError
from envbuild.notebook.parameters import (
    check_names,
    parameter_cells,
    parse_value,
    read_parameters,
    redacted,
)
from envbuild.spec.model import Notebook

AWKWARD = 'it\'s "q" \\ $HOME `x` \n\té'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("True", True),
        ("None", None),
        ("null", None),
        ('"3"', "3"),
        ('{"a": [1]}', {"a": [1]}),
        ("NaN", "NaN"),
        ("2020-01-01", "2020-01-01"),
        ("a b", "a b"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_values_of_the_command_line(text: str, expected: object) -> None:
    assert expected == parse_value(text)


def test_a_file_of_parameters(tmp_path: Path) -> None:
    """Dates stay texts, as with papermill."""
    path = tmp_path / "p.yaml"
    path.write_text("day: 2020-01-01\nrate: 0.5\nnames: [a, b]\nnested: {x: null}\nyes_: yes\n")

    expected = {"day": "2020-01-01", "rate": 0.5, "names": ["a", "b"], "nested": {"x": None}, "yes_": True}
    assert expected == read_parameters(path)


def test_an_empty_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# nothing\n")

    assert {} == read_parameters(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "this is not YAML: "),
        (b"- 1\n- 2\n", "parameters are a mapping of names to values"),
        (b"text", "parameters are a mapping of names to values"),
        (b"1: 2\n", "'1': a name is not a text"),
        (b"a: {1: 2}\n", "'a': a key in it is not a text"),
        (b"a: !!python/object/apply:os.system ['x']\n", "this is not YAML: "),
        (b"a: !!binary aGk=\n", "'a': a bytes cannot be given to a notebook"),
        (b"a: &x [1]\nb: *x\n", "aliases are not supported"),
        (b"a: " + b"[" * 5000, "this is n"),
        (b"a: \xff\n", "this is not YAML"),
        (b"a: 1\n---\nb: 2\n", "this is not YAML: "),
        (b"x" * ((1 << 20) + 1), "the file with parameters is larger than 1 MiB"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_parameters(path)

    assert ("bad-parameters", str(path)) == (caught.value.code, caught.value.file)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_parameters(tmp_path / name)

    assert "bad-parameters" == caught.value.code


VALUES: dict[str, Any] = {
    "a": AWKWARD,
    "b": True,
    "c": None,
    "d": 2.5,
    "e": -3,
    "f": [1, "x", [True]],
    "g": {"k'": {"n": 1}},
    "h": float("inf"),
}


def test_python_gets_equal_values() -> None:
    scope: dict[str, Any] = {}
    code = parameter_cells(VALUES)["python"]["source"]
    assert isinstance(ast.parse(code), ast.Module)
    exec(code, scope)

    assert VALUES == {name: scope[name] for name in VALUES}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "r",
            r"""# Parameters
a = "it's \"q\" \\ $HOME `x` \n\té"
b = TRUE
c = NULL
d = 2.5
e = -3
f = list(1, "x", list(TRUE))
g = list("k'" = list("n" = 1))
h = Inf""",
        ),
        (
            "julia",
            r"""# Parameters
a = "it's \"q\" \\ \$HOME `x` \n\té"
b = true
c = nothing
d = 2.5
e = -3
f = [1, "x", [true]]
g = Dict("k'" => Dict("n" => 1))
h = Inf""",
        ),
        (
            "octave",
            r"""# Parameters
a = "it's \"q\" \\ $HOME `x` \n\té";
b = true;
c = [];
d = 2.5;
e = -3;
f = {1, "x", {true}};
g = containers.Map({"k'"}, {containers.Map({"n"}, {1}, 'UniformValues', false)}, 'UniformValues', false);
h = Inf;""",
        ),
    ],
)
def test_other_languages(language: str, expected: str) -> None:
    assert expected == parameter_cells(VALUES)[language]["source"]


def test_bash_gets_the_values() -> None:
    """Flat lists are arrays, flat mappings associative arrays."""
    bash = shutil.which("bash") or pytest.skip("no bash here")
    code = parameter_cells({"a": AWKWARD, "b": True, "c": [1, "x y"], "d": {"k k": "v'v"}})["bash"]["source"]
    shown = 'printf "%s|" "$a" "$b" "${c[1]}" "${#c[@]}" "${d[k k]}"'

    done = subprocess.run([bash, "-c", f"{code}\n{shown}"], capture_output=True, text=True, check=True)

    assert f"{AWKWARD}|true|x y|2|v'v|" == done.stdout


def test_bash_has_nothing_nested() -> None:
    assert "bash" not in parameter_cells({"a": [[1]]})


def test_no_parameters_are_no_code() -> None:
    assert {} == parameter_cells({})


def test_what_is_kept_has_no_credentials() -> None:
    cells = parameter_cells({"year": 1, "db_password": "hunter2"})

    assert all("hunter2" in code["source"] and "hunter2" not in code["shown"] for code in cells.values())
    assert all("1" in code["shown"] and "***" in code["shown"] for code in cells.values())


@pytest.mark.parametrize(
    "name", ["password", "dbPassword", "API_KEY", "apiKey", "access_token", "client_secret", "authToken"]
)
def test_names_of_credentials(name: str) -> None:
    assert {name: "***"} == redacted({name: "abc"})


@pytest.mark.parametrize("name", ["key", "keyword", "monkey", "year", "author", "tokenizer", "sort_key"])
def test_names_of_other_things(name: str) -> None:
    assert {name: "abc"} == redacted({name: "abc"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ghp_" + "a" * 36, "***"),
        ("AKIA" + "A" * 16, "***"),
        ("https://me:pw@example.org/x", "https://***@example.org/x"),
        ([{"token": "x", "n": 1}], [{"token": "***", "n": 1}]),
        ("plain", "plain"),
    ],
)
def test_values_that_are_credentials(value: object, expected: object) -> None:
    assert {"a": expected} == redacted({"a": value})


def _notebook(language: str | None) -> Notebook:
    return Notebook("a.ipynb", None, language, None, ())


@pytest.mark.parametrize(
    ("name", "language", "code"),
    [
        ("x", "python", None),
        ("größe", "python", None),
        ("x.y", "R", None),
        ("import", "bash", None),
        ("1x", "python", "bad-parameter-name"),
        ("import", None, "bad-parameter-name"),
        ("x; import os", "python", "bad-parameter-name"),
        ("x.y", "python", "bad-parameter-name"),
        ("_x", "R", "bad-parameter-name"),
        ("TRUE", "R", "bad-parameter-name"),
        ("x y", "bash", "bad-parameter-name"),
        ("end", "octave", "bad-parameter-name"),
        ("x", "c++", "no-parameters"),
    ],
)
def test_names_that_are_none(name: str, language: str | None, code: str | None) -> None:
    try:
        check_names([name], ["a.ipynb"], [_notebook(language)])
    except UsageError as error:
        assert code == error.code
    else:
        assert code is None


def test_without_parameters_any_language_will_do() -> None:
    check_names([], ["a.ipynb"], [_notebook("c++")])


def test_the_shown_cell_is_json_safe() -> None:
    """It goes through a JSON document into the container."""
    assert json.loads(json.dumps(parameter_cells({"a": "\ud800"})))
