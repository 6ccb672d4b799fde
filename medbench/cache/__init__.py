"""Where what can be computed again is kept: prepared data sets, features, weights.

The cache is optional: what cannot be read or is damaged is computed again, and where nothing can
be written the run goes on without it, which is said once.
"""

from medbench.cache.entries import (
    Entry,
    discard,
    entries_like,
    entry_of,
    found_entry,
    is_sound,
    keep_entry,
    made_entry,
    read_entry,
    sums_of,
)
from medbench.cache.folders import VARIABLE, cache_folder, say_once, say_unwritable
from medbench.cache.locks import CHECKSUMS
from medbench.cache.notes import keep_note, read_note
from medbench.cache.working import remove_abandoned, work_in, working_folder

__all__ = [
    "CHECKSUMS",
    "VARIABLE",
    "Entry",
    "cache_folder",
    "discard",
    "entries_like",
    "entry_of",
    "found_entry",
    "is_sound",
    "keep_entry",
    "keep_note",
    "made_entry",
    "read_entry",
    "read_note",
    "remove_abandoned",
    "say_once",
    "say_unwritable",
    "sums_of",
    "work_in",
    "working_folder",
]
