#!/bin/sh
# openneuro-py 2026.9.1: installing it replaces urllib3 for all that shares its environment.
#
# Expected: a program that uses requests and urllib3 2.8.0 goes on to use these when a client for
#   OpenNeuro is installed beside them; pip lists urllib3 2.8.0.
# Seen: `import urllib3` gives another code base, 2.25.904, in every program of the environment, and
#   requests speaks through it. openneuro-py asks for niquests, that for urllib3-future, and its
#   file `urllib3_future.pth` puts its own copy in the place of urllib3 when Python starts. pip goes
#   on listing urllib3 2.8.0.
#
# Prints what is seen, and ends with 1 if it is something else.
set -eu
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() {
    "$folder/venv/bin/pip" install -qq --disable-pip-version-check "$@"
}
cd "$folder"
cat > who.py <<'PYTHON'
from importlib.metadata import version

import requests.adapters
import urllib3

print(f"listed {version('urllib3')}, imported {urllib3.__version__}, requests uses", end=" ")
print(requests.adapters.PoolManager.__module__.partition(".")[0], end=" ")
print("of it" if requests.adapters.PoolManager is urllib3.PoolManager else "of another one")
PYTHON
install requests==2.34.2 urllib3==2.8.0
"$folder/venv/bin/python" who.py | sed 's/^/before: /' | tee seen
install openneuro-py==2026.9.1 niquests==3.21.2 urllib3-future==2.25.904 urllib3==2.8.0
"$folder/venv/bin/python" who.py | sed 's/^/after: /' | tee -a seen
grep -q "before: listed 2.8.0, imported 2.8.0, requests uses urllib3 of it" seen
grep -q "after: listed 2.8.0, imported 2.25.904, requests uses urllib3 of it" seen
