"""One side of ``drawing``: draw the runs that standard input names, and say how long it took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def _main() -> None:
    from medbench.reports.stored import assessed
    from medbench.store import RunStore

    found = [assessed(RunStore(Path(folder)).read()) for folder in json.load(sys.stdin)]
    wall, cpu = time.perf_counter(), time.process_time()
    from medbench.reports import figures
    from medbench.reports.page import write_page

    for one in found:
        if hasattr(figures, "figures_of"):
            drawn = figures.figures_of(one)
            figures.write_figures(drawn, one.run.folder)
            write_page(one, one.run.folder, figures=drawn)
        else:  # a commit before figures were drawn once
            figures.write_figures(one, one.run.folder)
            write_page(one, one.run.folder)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print("\n" + json.dumps(took), flush=True)


if __name__ == "__main__":
    _main()
