#!/bin/sh
# PyYAML 6.0.3: of codes with leading zeros some become other numbers, and some stay text.
#
# Expected: [07, 08, 010] are three codes as they are written, or three numbers: 7, 8 and 10.
# Seen: 7, "08" and 8. By YAML 1.1 a leading zero makes a number octal; 08 is none, and so a text.
#   Thus two classes or patients may become one, in silence. 1:30 is 90 for a like reason (base 60).
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pyyaml==6.0.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import yaml

text = "[07, 08, 010, 1:30]"
seen = yaml.safe_load(text)
print(f"{text} is read as {seen}")
sys.exit(seen != [7, "08", 8, 90])
PYTHON
