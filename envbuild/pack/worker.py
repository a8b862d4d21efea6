"""A process that packs layers, and the pool of them that a build uses.

Packing is processor work in Python, so it happens in processes. They are plain children that read jobs
from standard input: when the parent dies in whatever way, they read end-of-file and end too.
"""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from envbuild.errors import EnvbuildError, MachineError
from envbuild.layers import LayerPlan, needs_interpreter
from envbuild.pack.blob import Packed
from envbuild.pack.bytecode import Compiler
from envbuild.pack.layer import pack_layer
from envbuild.store import Store

__all__ = ["Job", "WorkerPool"]


@dataclass(frozen=True, slots=True)
class Job:
    """One layer to pack: ``files`` are the layer's artifacts by sha256.

    ``interpreter`` is how to start the base's Python: command and environment.
    """

    layer: LayerPlan
    files: dict[str, Path]
    compression: str
    interpreter: tuple[tuple[str, ...], dict[str, str]]


class _Worker:
    """One child process, used by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            # -P: the working directory may be the repository, whose files are not to be imported.
            [sys.executable, "-P", "-m", "envbuild.pack.worker", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C reaches the parent only, which then closes our input.
            start_new_session=True,
        )

    def run(self, job: Job) -> Packed:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(job, self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError) as error:
            raise MachineError(
                f"packing `{job.layer.title}` was cut short: its process died",
                code="worker-died",
                remedy="look for an out-of-memory kill (`dmesg`) and build again: finished layers are kept",
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Packed)
        return answer

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class WorkerPool:
    """``size`` worker processes, started when first needed. A context manager."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix="pack")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []

    def submit(self, job: Job) -> Future[Packed]:
        """Pack ``job`` as soon as a worker is free."""
        return self._executor.submit(self._run, job)

    def _run(self, job: Job) -> Packed:
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(self._store.root)
            self._all.append(worker)
        packed = worker.run(job)
        self._idle.put(worker)
        return packed

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            for worker in self._all:
                worker.kill()
        self._executor.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()


def _serve(store: Store) -> None:
    """Answer pickled jobs from standard input until it ends."""
    # Pickle is safe here: both ends are this program, on a private pipe.
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    compilers: dict[tuple[str, ...], Compiler] = {}
    with ExitStack() as stack:
        while True:
            try:
                job: Job = pickle.load(source)
            except EOFError:
                return
            compiler = None
            if needs_interpreter(job.layer):
                command, environment = job.interpreter
                compiler = compilers.get(command)
                if compiler is None:
                    compiler = compilers[command] = stack.enter_context(Compiler(command, environment))
            answer: Packed | BaseException
            try:
                answer = pack_layer(
                    job.layer, job.files, store=store, compression=job.compression, compiler=compiler
                )
            except (EnvbuildError, OSError) as error:
                answer = error
            except Exception as error:  # a bug; not every exception can be sent, but its text can
                answer = RuntimeError(f"packing {job.layer.title}: {type(error).__name__}: {error}")
            pickle.dump(answer, sink)
            sink.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(Store(Path(sys.argv[1])))
