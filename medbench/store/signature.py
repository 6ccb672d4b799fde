"""Whether a record was written by this user here, or came from somewhere else.

Each user has a secret, in his folder for the state of programs. A record is signed with it (HMAC
over the record, with the hash of the model in it), which nobody can do who does not know it. The
signature tells nothing of the user or the machine, and no two records have the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbench.hashes import sha256_of_json
from medbench.store.seals import SEAL, as_read

_SIGNATURE = "signature"
_DIGITS = 64


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the signature of this user; without any where his secret cannot be kept."""
    content, secret = _content(as_read(record)), _secret(make=True)
    return content if secret is None else {**content, _SIGNATURE: _sign(content, secret)}


def is_ours(record: Mapping[str, Any]) -> bool:
    """Whether a record that was read was signed by this user, and not changed since."""
    secret, said = _secret(make=False), record.get(_SIGNATURE)
    if secret is None or not isinstance(said, str):
        return False
    return hmac.compare_digest(_sign(_content(record), secret).encode(), said.encode())


def _content(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in (SEAL, _SIGNATURE)}


def _sign(content: Mapping[str, Any], secret: str) -> str:
    return hmac.new(secret.encode(), sha256_of_json(content).encode(), hashlib.sha256).hexdigest()


def _secret(*, make: bool) -> str | None:
    """The user's secret; None where there is none, or none can be made."""
    from platformdirs import user_state_path

    path = user_state_path("medbench") / "secret"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if make and not path.exists():
            _make(path)
        secret = path.read_text(encoding="ascii")
        return secret if len(secret) == _DIGITS else None
    return None


def _make(path: Path) -> None:
    """Write a new secret, unless another process is faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_DIGITS // 2))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
