"""Starting a measurement in a fresh process with a fresh cache, and telling what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from labkit import runtime
from labkit.errors import BenchError

LAST_WORDS = 300  # characters of what a failed process said


def ask(
    kind: str, what: dict[str, Any], scratch: Path, timeout: float | None = None
) -> dict[str, Any]:
    """What `labkit.bench.child` answers to an order.

    The process has a home and caches of its own, empty and removed afterwards, so that nothing decoded, computed or
    measured before helps it. Raises BenchError with its last words when it fails.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        answer = Path(folder) / "answer.json"
        log = Path(folder) / "log.txt"
        order = json.dumps({"kind": kind, "what": what, "answer": str(answer)})
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "labkit.bench.child"],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=_environment(folder),
                cwd=folder,
                start_new_session=True,
            )
            try:
                process.communicate(order.encode(), timeout)
            except subprocess.TimeoutExpired:
                raise BenchError(f"not done after {timeout:.0f} s") from None
            finally:
                _end(process)
        if process.returncode or not answer.exists():
            raise BenchError(_last_words(log, process.returncode))
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def _environment(cache: str) -> dict[str, str]:
    """The same threads for all, a home and caches of its own, and no peer that asks the network."""
    threads = str(runtime.threads())
    ours = {
        "HOME": cache,
        "XDG_CACHE_HOME": cache,
        "LABKIT_CACHE": cache,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "KERAS_BACKEND": "torch",
        "KERAS_HOME": cache,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": cache,
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    return os.environ | ours


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its workers, however it is left: with an answer, too late, or by Ctrl-C."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _last_words(log: Path, code: int) -> str:
    lines = [
        line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()
    ]
    said = lines[-1][:LAST_WORDS] if lines else "it said nothing"
    return f"ended with code {code}: {said}"
