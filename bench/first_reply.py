"""Runs inside the images: start the kernel ``python3`` and wait for the reply to one cell."""

from __future__ import annotations

from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
reply = client.execute_interactive(
    "import pandas, matplotlib.pyplot; print(pandas.Series([1, 2]).sum())", store_history=False, timeout=120
)
status = reply["content"]["status"]
client.stop_channels()
manager.shutdown_kernel(now=True)
raise SystemExit(status != "ok")
