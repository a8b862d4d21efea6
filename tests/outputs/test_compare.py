"""Whether a cell gave the same."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.outputs.compare import compare_outputs
from envbuild.outputs.notebook import parse_notebook, read_cells
from tests.outputs.examples import RULES, code, content, display, error, notebook, outputs, plot, stream

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><metadata>{}</metadata><path id="p0a1b2c3d4e" d="M {} 1"/></svg>'
)
WIDGET: dict[str, Any] = {
    "text_plain": "IntSlider()",
    "application_vnd.jupyter.widget-view__json": {"model_id": "1"},
}
PLOTLY = "application_vnd.plotly.v1__json"


def differences(stored: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    found = compare_outputs(outputs(*stored), outputs(*new), RULES).differences
    return [f"{one.where}: {one.kind}: {one.summary}" for one in found]


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ([stream("a\nb\n")], [stream("a\n"), stream("b\n")]),
        ([stream("o"), stream("e", "stderr")], [stream("e", "stderr"), stream("o")]),
        ([stream("10%\r100%\n")], [stream("100%\n")]),
        ([stream("abc\b\b\bxyz\n")], [stream("xyz\n")]),
        ([stream("")], []),
        ([display(text_plain="1")], [{**display(text_plain="1"), "output_type": "execute_result"}]),
        (
            [display(text_plain="<a at 0x7f0000000001>", text_html="<b>1</b>")],
            [display(text_html="<b>1</b>")],
        ),
        ([display(image_png=plot(), text_plain="a")], [display(image_png=plot(), text_plain="b")]),
        (
            [display(image_svg__xml=SVG.format("1", "2.0"))],
            [display(image_svg__xml=SVG.format("2", "2.0"))],
        ),
        (
            [display(**{PLOTLY: {"y": [0.1], "uid": "a"}})],
            [display(**{PLOTLY: {"y": [0.1000000001], "uid": "b"}})],
        ),
        ([error("E", "at 0x7f0000000001")], [error("E", "at 0x7f0000000002")]),
    ],
)
def test_the_same(stored: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    assert [] == differences(stored, new)


@pytest.mark.parametrize(
    ("stored", "new", "expected"),
    [
        ([stream("a")], [], "stdout: missing: 'a' is missing"),
        ([], [stream("a", "stderr")], "stderr: extra: 'a' was added"),
        ([display(text_plain="1")], [], "output 1: missing: text is missing"),
        ([], [display(image_png=plot())], "output 1: extra: image/png was added"),
        ([display(text_plain="1")], [display(text_plain="2")], "output 1: text: '2' instead of '1'"),
        (
            [display(text_plain="Figure", image_png=plot())],
            [display(text_plain="Figure")],
            "output 1: kind: text instead of image/png",
        ),
        (
            [display(image_png=plot())],
            [display(image_png=plot("green"))],
            "output 1: picture: picture differs in 4.7 % of its pixels (112)",
        ),
        (
            [display(image_png=plot())],
            [display(image_png=plot(size=(60, 41)))],
            "output 1: picture: picture is 60×41 instead of 60×40",
        ),
        (
            [display(image_png="no base64!")],
            [display(image_png=plot())],
            "output 1: picture: the pictures cannot be compared: they are not base64",
        ),
        (
            [display(image_png=b"no picture")],
            [display(image_png=plot())],
            "output 1: picture: the pictures cannot be compared: it is neither PNG nor JPEG",
        ),
        (
            [display(image_svg__xml=SVG.format("", "2.0"))],
            [display(image_svg__xml=SVG.format("", "2.5"))],
            "output 1: picture: drawing: number 2.5 instead of 2.0 (25 %)",
        ),
        (
            [display(**{PLOTLY: {"data": [{"y": [1.5, 2]}]}})],
            [display(**{PLOTLY: {"data": [{"y": [1.6, 2]}]}})],
            "output 1: data: data[0].y[0]: 1.6 instead of 1.5",
        ),
        ([error("E", "a")], [error("E", "b")], "exception: exception: 'E: b' instead of 'E: a'"),
        ([error("E", "a")], [], "exception: exception: the exception was not raised"),
        ([], [error("E", "a")], "exception: exception: E: a was raised"),
    ],
)
def test_what_differs(stored: list[dict[str, Any]], new: list[dict[str, Any]], expected: str) -> None:
    assert [expected] == differences(stored, new)


@pytest.mark.parametrize(
    ("stored", "new", "expected"),
    [
        (WIDGET, {**WIDGET, "text_plain": "IntSlider(value=1)"}, "a widget"),
        ({"application_javascript": "a"}, {"application_javascript": "b"}, "JavaScript"),
        (
            {"text_html": "<SCRIPT>a</SCRIPT>", "text_plain": "a"},
            {"text_html": "<script>b</script>", "text_plain": "b"},
            "HTML that a script draws",
        ),
    ],
)
def test_what_only_a_browser_draws_is_skipped(stored: Any, new: Any, expected: str) -> None:
    found = compare_outputs(outputs(display(**stored)), outputs(display(**new)), RULES)

    assert ((), (f"output 1: {expected}",)) == (found.differences, found.skipped)


def test_live_output_with_data_is_compared() -> None:
    """Plotly's HTML has a script, its data are data."""
    stored = display(text_html="<script>1</script>", **{PLOTLY: {"y": [1]}})
    new = display(text_html="<script>2</script>", **{PLOTLY: {"y": [2]}})

    assert ["output 1: data: y[0]: 2 instead of 1"] == differences([stored], [new])


def test_a_table_is_shown_as_text() -> None:
    """Its HTML differs; the lines of its text say how."""
    stored = outputs(display(text_html="<td>2.0</td>", text_plain="0  2.0"))
    new = outputs(display(text_html="<td>2.5</td>", text_plain="0  2.5"))
    (found,) = compare_outputs(stored, new, RULES).differences

    assert (("-0  2.0", "+0  2.5"), "text/html") == (found.lines, found.stored and found.stored.kind)


def test_packed_arrays_are_numbers() -> None:
    """As plotly 6 writes them."""
    packed = {"dtype": "f8", "bdata": "mpmZmZmZuT8AAAAAAAAAQA=="}

    assert [] == differences([display(**{PLOTLY: {"y": packed}})], [display(**{PLOTLY: {"y": [0.1, 2.0]}})])


def test_a_difference_has_what_a_report_needs() -> None:
    stored, new = outputs(display(image_png=plot())), outputs(display(image_png=plot("green")))
    (found,) = compare_outputs(stored, new, RULES).differences

    assert found.stored is not None
    assert "image/png" == found.stored.kind
    assert (found.picture or b"").startswith(b"\x89PNG")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
texts = st.text(max_size=30) | st.lists(st.text(max_size=10), max_size=3)
kinds = st.sampled_from(
    [
        *("text/plain", "text/html", "text/latex", "image/png", "image/jpeg", "image/svg+xml", "x/y"),
        *("application/json", "application/vnd.plotly.v1+json", "application/javascript"),
    ]
)
bundles = st.dictionaries(kinds, texts, max_size=3) | st.dictionaries(
    st.just("application/json"), values.filter(lambda value: not isinstance(value, str)), max_size=1
)
any_output = st.one_of(
    st.builds(
        lambda text, name: {"output_type": "stream", "name": name, "text": text},
        texts,
        st.sampled_from(["stdout", "stderr"]),
    ),
    st.builds(lambda data: {"output_type": "display_data", "metadata": {}, "data": data}, bundles),
    st.builds(lambda one, two: error(one, two), st.text(max_size=5), st.text(max_size=5)),
)
many = st.lists(any_output, max_size=4)


@given(many, many)
def test_any_valid_outputs_can_be_compared(stored: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    """Nothing fails; an output is the same as itself; whether two are does not depend on their order."""
    nbformat.validate(notebook(code("1", *stored)))
    before, after = outputs(*stored), outputs(*new)

    assert () == compare_outputs(before, before, RULES).differences
    there, back = compare_outputs(before, after, RULES), compare_outputs(after, before, RULES)
    assert len(there.differences) == len(back.differences)


@given(values)
def test_anything_in_the_place_of_outputs_is_read(value: Any) -> None:
    document = notebook(code("1"), {**code("1"), "outputs": value}, {**code("1"), "outputs": [value]})
    document["cells"] += [value, {"cell_type": "code", "metadata": value, "source": value}]

    assert len(read_cells(document)) >= 4


@pytest.mark.parametrize(
    ("data", "code_"),
    [
        (b"", "bad-notebook"),
        (b"[]", "bad-notebook"),
        (b"{}", "bad-notebook"),
        (b"\xff", "bad-notebook"),
        (b'{"nbformat": 3, "worksheets": []}', "bad-nbformat"),
        (b"[" * 100_000, "bad-notebook"),
    ],
)
def test_what_is_no_notebook(data: bytes, code_: str) -> None:
    from envbuild.errors import RepoError

    with pytest.raises(RepoError) as caught:
        parse_notebook(data, "a.ipynb")

    assert (code_, "a.ipynb") == (caught.value.code, caught.value.file)


def test_nan_is_read_as_jupyter_does() -> None:
    data = content(code("1")).replace(b'"metadata": {}', b'"metadata": {"x": NaN}', 1)

    assert 1 == len(read_cells(parse_notebook(data, "a.ipynb")))
