"""Executes notebooks. This file runs inside the image, with the Python of the Jupyter server.

It is given the path of a JSON document::

    {"timeout": seconds or null,
     "parameters": {name: value},
     "notebooks": [{"path": ..., "result": ..., "directory": ...}]}

and tells what happens by appending JSON lines to the file ``events`` beside that document. ``result`` is an
existing file that gets the executed notebook, also when a cell failed. Nothing of envbuild can be imported.
"""

# mypy: disable-error-code="import-not-found,no-untyped-call"

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

_LONGEST_TEXT = 100_000


def main(request_path: Path) -> int:
    """Execute every notebook of the request; 0 when all of them ran to their end."""
    request = json.loads(request_path.read_text("utf-8"))
    failures = 0
    with (request_path.parent / "events").open("a", encoding="utf-8") as events:

        def tell(number: int, **event: object) -> None:
            events.write(json.dumps({"notebook": number, **event}) + "\n")
            events.flush()

        for number, item in enumerate(request["notebooks"]):
            failure = _execute(item, request, partial(tell, number))
            failures += failure is not None
            tell(number, event="ended", failure=failure)
    return 1 if failures else 0


def _execute(
    item: dict[str, str], request: dict[str, Any], tell: Callable[..., None]
) -> dict[str, Any] | None:
    """Execute one notebook; None, or what went wrong as a JSON object."""
    try:
        notebook = nbformat.read(item["path"], as_version=4)
    except Exception as error:
        return _failure("unreadable", error)
    if request["parameters"]:
        _insert_parameters(notebook, request["parameters"])
    tell(event="started", cells=sum(cell.cell_type == "code" for cell in notebook.cells))
    current = 0  # 1-based position of the cell that runs

    def on_cell_start(cell: Any, cell_index: int) -> None:
        nonlocal current
        current = cell_index + 1

    def on_cell_complete(cell: Any, cell_index: int) -> None:
        tell(event="cell")

    client = NotebookClient(
        notebook,
        timeout=request["timeout"],
        kernel_name=notebook.metadata.get("kernelspec", {}).get("name") or "python3",
        resources={"metadata": {"path": item["directory"]}},
        record_timing=False,  # the same run gives the same file
        on_cell_start=on_cell_start,
        on_cell_complete=on_cell_complete,
    )
    failure: dict[str, Any] | None = None
    try:
        client.execute()
    except CellExecutionError as error:
        failure = {"kind": "cell-failed", "message": f"{error.ename}: {error.evalue}"[:_LONGEST_TEXT]}
        failure["traceback"] = str(error.traceback)[-_LONGEST_TEXT:]
    except CellTimeoutError as error:
        failure = _failure("cell-timeout", error)
    except DeadKernelError as error:
        failure = _failure("kernel-died", error)
    except Exception as error:
        kind = "no-kernel" if type(error).__name__ == "NoSuchKernel" else "not-executed"
        failure = _failure(kind, error)
    if failure is not None and current:
        failure["cell"] = current
        failure["count"] = sum(cell.cell_type == "code" for cell in notebook.cells[:current])
    if current or failure is None:
        nbformat.write(notebook, item["result"])
    return failure


def _failure(kind: str, error: Exception) -> dict[str, Any]:
    return {"kind": kind, "message": str(error)[:_LONGEST_TEXT] or type(error).__name__}


def _insert_parameters(notebook: Any, parameters: dict[str, Any]) -> None:
    """Set variables the way papermill does: in a cell after the one tagged ``parameters``, or first."""
    source = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())])
    cell = new_code_cell(source, metadata={"tags": ["injected-parameters"]}, id="injected-parameters")
    tagged = [
        index for index, old in enumerate(notebook.cells) if "parameters" in old.metadata.get("tags", ())
    ]
    notebook.cells.insert(tagged[0] + 1 if tagged else 0, cell)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
