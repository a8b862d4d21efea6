"""Executes one notebook. This file runs inside the image, with the Python of the Jupyter server.

It is given the path of a JSON document::

    {"path": the notebook, "directory": its working directory, "result": ...,
     "html": ... or null, "title": of that page,
     "timeout": seconds per cell or null, "memory": bytes or null, "output": most characters of it,
     "parameters": {language: {"source": code to run, "shown": code to keep}} or null}

and tells what happens by appending JSON lines to the file ``events`` beside that document. ``result`` is an
existing file that gets the executed notebook, also when a cell failed or SIGTERM ended it all; ``html`` is
one that gets it as a page. Nothing of envbuild can be imported.
"""

# mypy: disable-error-code="import-not-found,no-untyped-call,misc"

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

_LONGEST_TEXT = 100_000
_LOOK_SECONDS = 0.05
# A kernel that dies meanwhile is noticed. nbclient's 60 are not enough for a large one on a busy machine.
_START_SECONDS = 1800
# For output that is still on its way when a cell has ended: what comes later is lost without a word.
_OUTPUT_SECONDS = 60
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PARAMETERS, _INJECTED, _SKIP = "parameters", "injected-parameters", "skip-execution"
# "Cell In[3], line 7" since IPython 8.5; "Input In [3], in <cell line: 7>()" before.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LINES = (r"Cell In\s?\[{}\], line (\d+)", r"In \[{}\], in <cell line: (\d+)>")
# What is left of a script of nbconvert's template whose address was taken away.
_EMPTY_SCRIPT = re.compile(r'<script src="">\s*</script>')

Failure = dict[str, Any]


def main(request_path: Path) -> int:
    """Execute the notebook of the request; 0 when it ran to its end."""
    request = json.loads(request_path.read_text("utf-8"))
    with (request_path.parent / "events").open("a", encoding="utf-8") as events:

        def tell(**event: object) -> None:
            events.write(json.dumps(event) + "\n")
            events.flush()

        failure = _execute(request, tell)
        tell(event="ended", failure=failure)
    return 1 if failure else 0


def _execute(request: dict[str, Any], tell: Callable[..., None]) -> Failure | None:
    """Execute the notebook; None, or what went wrong as a JSON object."""
    injected = None
    try:
        notebook = nbformat.read(request["path"], as_version=4)
        kernel, language = _kernel(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code" and _SKIP not in cell.metadata.get("tags", ()):
                cell.outputs, cell.execution_count = [], None  # nothing of an earlier run is kept
        if request["parameters"] is not None:
            code = request["parameters"].get(language.lower())
            if code is None:
                return {"kind": "no-parameters", "message": language}
            injected = _inject(notebook, code["source"])
        execution = _Execution(notebook, kernel, request, tell)
    except NoSuchKernel as error:
        return _failure("no-kernel", error)
    except Exception as error:  # nbformat reads much that is no notebook
        return _failure("unreadable", error)
    failure = execution.run()
    if injected is not None:
        injected.source = code["shown"]
    if failure is None or execution.current:
        try:
            nbformat.write(notebook, request["result"])
            if request["html"]:
                _write_page(notebook, request)
        except Exception as error:
            failure = failure or _failure("not-written", error)
    return failure


def _kernel(notebook: Any) -> tuple[str, str]:
    """The name and the language of the kernel for ``notebook``: the one it names, or one of its language."""
    named = notebook.metadata.get("kernelspec", {})
    manager = KernelSpecManager()
    if named.get("name"):
        return named["name"], manager.get_kernel_spec(named["name"]).language
    wanted = named.get("language") or notebook.metadata.get("language_info", {}).get("name") or "python"
    if wanted.lower() not in ("python", "ipython"):
        for name in sorted(manager.find_kernel_specs()):
            language = manager.get_kernel_spec(name).language
            if language.lower() == wanted.lower():
                return name, language
    return "python3", "python"


class _Execution:
    """One notebook on one kernel.

    Attributes:
        current: 1-based position of the cell that runs, or ran last; 0 before the first.
    """

    def __init__(
        self, notebook: Any, kernel: str, request: dict[str, Any], tell: Callable[..., None]
    ) -> None:
        self.notebook = notebook
        self.current = 0
        self._memory = request["memory"]
        self._most_output = request["output"]
        self._tell = tell
        self._ended_for: str | None = None
        self._process: Any = None
        self._output = 0
        self._most_memory = 0
        self._over = threading.Event()
        self._main: Any = None
        self._client = _Client(
            self,
            notebook,
            timeout_func=lambda cell: request["timeout"],  # the other way takes whole seconds only
            kernel_name=kernel,
            resources={"metadata": {"path": request["directory"]}},
            startup_timeout=_START_SECONDS,
            iopub_timeout=_OUTPUT_SECONDS,
            record_timing=False,  # the same run gives the same file
            skip_cells_with_tag=_SKIP,
            on_cell_start=self._started,
            on_cell_executed=self._executed,
        )
        self._waiting = [
            number
            for number, cell in enumerate(notebook.cells, 1)
            if cell.cell_type == "code" and cell.source.strip() and _SKIP not in cell.metadata.get("tags", ())
        ]

    def run(self) -> Failure | None:
        """Execute all cells; None, or what went wrong."""
        self._tell(event="started", cells=len(self._waiting))
        try:
            asyncio.run(self._run())
        except CellExecutionError as error:
            failure = {"kind": "cell-failed", "message": f"{error.ename}: {error.evalue}"[:_LONGEST_TEXT]}
            failure["traceback"] = str(error.traceback)[-_LONGEST_TEXT:]
        except CellTimeoutError as error:
            failure = _failure("cell-timeout", error)
        except (DeadKernelError, asyncio.CancelledError) as error:
            failure = _failure(self._ended_for or self._death(), error)
        except Exception as error:
            failure = _failure(self._ended_for or "not-executed", error)
        else:
            return None
        return self._with_place(failure)

    async def _run(self) -> None:
        self._main = asyncio.current_task()
        if self._memory:
            # A thread: the loop may be busy with a large output for seconds.
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._watch, args=(loop,), name="memory", daemon=True).start()
        try:
            await self._client.async_execute()
        finally:
            self._over.set()

    def starting(self) -> None:
        """The kernel is about to be started."""
        # nbclient's own handler ends the kernel; ours ends the execution, so that the result is written.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.end, "stopped")

    def started(self, process: Any) -> None:
        """The kernel was started."""
        self._process = process
        with contextlib.suppress(OSError, AttributeError):
            # When memory is short, the kernel shall go and not the one who tells of it (proc(5)).
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")

    def received(self, content: dict[str, Any]) -> None:
        """A message of the kernel's arrived. What is too much of it is taken out."""
        size = _size(content)
        if self._output + size > self._most_output:
            # What was cleared or replaced since does not count.
            kept = [output for cell in self.notebook.cells for output in cell.get("outputs", ())]
            self._output = sum(map(_size, kept))
            if self._output + size > self._most_output:
                # One message may hold all that a kernel printed while we were busy.
                room = max(0, self._most_output - self._output)
                content |= {"text": content["text"][:room]} if "text" in content else {"data": {}}
                self.end("too-much-output")
        self._output += size

    def end(self, reason: str) -> None:
        """End the execution at once, because of ``reason``."""
        if self._ended_for is None:
            self._ended_for = reason
            self._client.shutdown_kernel = "immediate"
            waiting = self._client.task_poll_for_reply
            if waiting is not None and not waiting.done():
                waiting.cancel()  # what nbclient does when a kernel has died
            else:
                self._main.cancel()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the execution when everything in the container together has more memory than allowed."""
        while not self._over.wait(_LOOK_SECONDS):
            # What processes share is in the resident size of each; what it really is takes longer to tell.
            size = _memory(_resident)
            if size > self._memory:
                size = _memory(_proportional)
            self._most_memory = max(self._most_memory, size)
            if size > self._memory:
                if self._process is not None:
                    with contextlib.suppress(OSError):
                        os.killpg(self._process.pid, signal.SIGKILL)
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self.end, "out-of-memory")
                return

    def _death(self) -> str:
        # A limit of the engine's own may be quicker than we are. It kills without a word.
        killed = self._process is not None and self._process.poll() == -signal.SIGKILL
        near = bool(self._memory) and 2 * self._most_memory > self._memory
        return "out-of-memory" if killed and near else "kernel-died"

    def _started(self, cell: Any, cell_index: int) -> None:
        self.current = cell_index + 1
        if self.current in self._waiting:
            self._tell(event="cell", number=self._waiting.index(self.current) + 1)

    def _executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        self._tell(event="done")

    def _with_place(self, failure: Failure) -> Failure:
        if not self.current:
            return failure
        count = sum(number <= self.current for number in self._waiting)
        failure |= {"cell": self.current, "count": count}
        cell = self.notebook.cells[self.current - 1]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors and failure["kind"] == "cell-failed":
            # IPython's reply says "NoneType: None" when what failed was showing a result; the output knows.
            failure["message"] = f"{errors[-1].ename}: {errors[-1].evalue}"[:_LONGEST_TEXT]
        lines = cell.source.count("\n") + 1
        traceback = _COLOURS.sub("", failure.get("traceback", ""))
        for form in _LINES:
            match = re.search(form.format(count), traceback)
            if match and 1 <= int(match[1]) <= lines:
                failure["line"] = int(match[1])
                # It shows the code, so the cell need not be shown above it, as nbclient does.
                told = "\n".join(errors[-1].traceback) if errors else ""
                failure["traceback"] = told[-_LONGEST_TEXT:] or failure["traceback"]
                break
        return failure


class _Client(NotebookClient):
    """nbclient, and an execution that is told of what happens."""

    def __init__(self, execution: _Execution, notebook: Any, **options: Any) -> None:
        self._execution = execution
        super().__init__(notebook, **options)

    async def async_start_new_kernel(self, **options: Any) -> None:
        self._execution.starting()
        await super().async_start_new_kernel(**options)
        manager: Any = self.km
        self._execution.started(manager.provisioner.process)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        self._execution.received(msg["content"])
        return super().process_message(msg, cell, cell_index)


def _size(content: dict[str, Any]) -> int:
    """Roughly the characters of an output, or of the message that it is made from."""
    pieces = [content.get("text", ""), *(content.get("data") or {}).values()]
    return sum(len(piece if isinstance(piece, str) else json.dumps(piece)) for piece in pieces)


def _memory(measure: Callable[[Path], int]) -> int:
    """The memory of all processes here, in bytes."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended
                total += measure(entry)
    return total


def _resident(process: Path) -> int:
    return int((process / "statm").read_text().split()[1]) * _PAGE


def _proportional(process: Path) -> int:
    """Of what processes share, only the share (PSS)."""
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _failure(kind: str, error: BaseException) -> Failure:
    return {"kind": kind, "message": str(error)[:_LONGEST_TEXT] or type(error).__name__}


def _inject(notebook: Any, source: str) -> Any:
    """Add the cell that sets variables, where papermill does: in the place of one that it added before, after
    the cell tagged ``parameters``, or first."""
    cell = new_code_cell(source, metadata={"tags": [_INJECTED]}, id=_INJECTED)
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        del cell["id"]  # which came with 4.5
    for tag, replaces in ((_INJECTED, True), (_PARAMETERS, False)):
        for index, old in enumerate(notebook.cells):
            if tag in old.metadata.get("tags", ()):
                notebook.cells[index : index + 1] = [cell] if replaces else [old, cell]
                return cell
    notebook.cells.insert(0, cell)
    return cell


def _write_page(notebook: Any, request: dict[str, Any]) -> None:
    """Write the notebook as a page that needs nothing but itself, unless what it shows does."""
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        embed_images=True,
        exclude_anchor_links=True,
        **dict.fromkeys(_unneeded(notebook), ""),
    )
    resources = {"metadata": {"name": request["title"], "path": request["directory"]}}
    page, _ = exporter.from_notebook_node(notebook, resources)
    Path(request["html"]).write_text(_EMPTY_SCRIPT.sub("", page), "utf-8", "backslashreplace")


def _unneeded(notebook: Any) -> list[str]:
    """Those scripts of the web that nbconvert's page loads and this notebook can do without."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    pages = ""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text += "$$" if "text/latex" in data else ""
            text += str(data.get("text/markdown", ""))
            pages += str(data.get("text/html", "")) + str(data.get("application/javascript", ""))
    needed = {
        "mathjax_url": re.search(r"\$[^$]+\$|\$\$|\\\(|\\\[|\\begin\{", text + pages),
        "require_js_url": re.search(r"\brequire(?:js)?\b", pages),
    }
    return [name for name, reason in needed.items() if not reason]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
