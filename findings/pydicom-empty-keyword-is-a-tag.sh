#!/bin/sh
# pydicom 3.0.2: a keyword that is empty names an element.
#
# Expected: tag_for_keyword gives None for what is no keyword, so that a program that takes a keyword
#   from a person or a table can refuse it; so it does for "NoSuchKeyword".
# Seen: tag_for_keyword("") is a tag: retired elements of the dictionary have an empty keyword, and one
#   of them answers for all.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pydicom==3.0.2
cd "$folder"
cat > look.py <<'PYTHON'
from pydicom.datadict import dictionary_has_tag, dictionary_is_retired, tag_for_keyword

print("NoSuchKeyword:", tag_for_keyword("NoSuchKeyword"))
tag = tag_for_keyword("")
print(f"the empty keyword: ({tag >> 16:04X},{tag & 0xFFFF:04X}),", end=" ")
print("retired" if dictionary_has_tag(tag) and dictionary_is_retired(tag) else "not retired")
PYTHON
"$folder/venv/bin/python" look.py | tee seen
grep -q "NoSuchKeyword: None" seen
grep -q "the empty keyword: (....,....), retired" seen
