"""Runs in the peer's build: install the records of a directory into a prefix, with rattler's installer."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from rattler import PrefixRecord, install

records, cache, prefix = map(Path, sys.argv[1:])
chosen = [PrefixRecord.from_path(file) for file in sorted(records.glob("*.json"))]
asyncio.run(install(chosen, target_prefix=prefix, cache_dir=cache, show_progress=False))
os._exit(0)  # py-rattler 0.28 may abort while the interpreter ends
