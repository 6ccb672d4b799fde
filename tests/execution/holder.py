"""A run of the local executor in a process that a test may stop or kill: FOLDER FAMILY..."""

import sys
from pathlib import Path

from medbench.execution.executor import Resources
from medbench.execution.local import LocalExecutor
from medbench.testing.executor_work import small_work, weighted_work

if __name__ == "__main__":
    folder, *families = sys.argv[1:]
    plugin = Path(__file__).with_name("unruly_families.py")
    resources = Resources(threads=1, jobs=len(families), plugins=(plugin,))
    work = [weighted_work(small_work(family), Path(folder)) for family in families]
    for event in LocalExecutor(resources).run(work):
        print(type(event).__name__, getattr(event, "reason", ""), flush=True)
