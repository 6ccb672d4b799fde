"""A contract can fail: a plugin with one thing wrong, and what its author is told."""

from __future__ import annotations

import pytest


@pytest.fixture
def told():
    """What the author of a plugin is told by one test of its contract."""

    def tell(contract, name, **plugin):
        static = {n: staticmethod(v) if callable(v) else v for n, v in plugin.items()}
        with pytest.raises(AssertionError) as error:
            getattr(type("TestWrong", (contract,), static)(), name)()
        return str(error.value)

    return tell
