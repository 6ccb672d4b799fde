#!/bin/sh
# pyarrow 26.0.1 (which pandas 3.1.1 imports): importing it starts a thread.
#
# Expected: a program that has only imported pandas has one thread, so that it may fork; Python
#   3.12 and later warn of every fork of a process that has more.
# Seen: Arrow's allocator starts a background thread ("jemalloc_bg_thd") where the library is
#   loaded; choosing another memory pool (ARROW_DEFAULT_MEMORY_POOL=system) does not keep it from
#   that, JE_ARROW_MALLOC_CONF=background_thread:false does.
#
# Linux only. Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1
cat > "$folder/names.py" <<'PYTHON'
import glob

import pandas  # noqa: F401

names = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")]
print(" ".join(sorted(set(names) & {"jemalloc_bg_thd"})) or "none")
PYTHON
cd "$folder"
seen=""
for setting in "NOTHING=set" "ARROW_DEFAULT_MEMORY_POOL=system" \
    "JE_ARROW_MALLOC_CONF=background_thread:false"; do
    found=$(env "$setting" OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" names.py)
    echo "$setting: threads of Arrow's allocator after import pandas: $found"
    seen="$seen $found"
done
[ "$seen" = " jemalloc_bg_thd jemalloc_bg_thd none" ]
