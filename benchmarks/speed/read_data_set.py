"""CPU seconds of one MedBench, whichever Python finds, for listing a data set or for preparing it.

``python read_data_set.py listing|prepared ENTRY [BEFORE]``, where ENTRY is the JSON of a data
set's entry; prints the seconds and how many images there are. BEFORE is that of a small set like
it, which is read untimed, so that what happens once a process is in neither side.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """A set is listed twice, of which the second counts: what files say is in the cache then."""
    from medbench import registry
    from medbench.cache import cache_folder
    from medbench.cores import available_threads
    from medbench.datasets.prepared import prepare

    def source_of(entry: dict[str, Any]) -> Any:
        return registry.sources.get(entry["source"]).model_validate(entry)

    def prepared(entry: dict[str, Any]) -> Any:
        cache, threads = cache_folder() / "prepared", available_threads()
        return prepare("films", source_of(entry), cache=cache, threads=threads)

    what, entry, *before = sys.argv[1], *map(json.loads, sys.argv[2:])
    if what == "listing":
        source_of(entry).listing()
    for one in before:
        prepared(one)
    began = time.process_time()
    table = source_of(entry).listing().table if what == "listing" else prepared(entry).table
    print(json.dumps({"seconds": time.process_time() - began, "images": len(table)}))


if __name__ == "__main__":
    main()
