"""Data sets of OpenNeuro, ``openneuro:DATASET@VERSION[/PATH/IN/IT]``, by openneuro-py.

They are large, so an entry may say which files are wanted, and how much comes is asked first: of
OpenNeuro itself (https://docs.openneuro.org, GraphQL), for the client has no call that tells it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medbench.datasets.download import Download
from medbench.datasets.places.base import Place, path_inside
from medbench.disk import check_space
from medbench.errors import ConfigurationError, DatasetError
from medbench.hashes import sha256_of_json
from medbench.versions import install_command

_TEXT = re.compile(
    r"(?P<dataset>ds[0-9]{6})@(?P<version>[0-9]+(\.[0-9]+){0,3})(/(?P<inside>.*))?", re.DOTALL
)
_API = "https://openneuro.org/crn/graphql"
_TIMEOUT_SECONDS = (10.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class OpenNeuroPlace(Place):
    """One version of a data set, or some of its files."""

    dataset: str
    """As ds000246."""
    version: str
    """As 1.0.0."""
    only: tuple[str, ...] = ()
    """Patterns of the files that are wanted, as openneuro-py has them; empty for all."""

    @classmethod
    def parse(cls, text: str) -> OpenNeuroPlace:
        """What stands behind ``openneuro:``.

        Raises:
            ConfigurationError: It is no version of a data set.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"'openneuro:{text[:200]}' cannot be a data set of OpenNeuro: write "
                "openneuro:ds000246@1.0.0, with the version that its page shows, and then "
                "/PATH/IN/IT."
            )
        inside = path_inside(match["inside"] or "", f"openneuro:{text}")
        return cls(dataset=match["dataset"], version=match["version"], inside=inside)

    @property
    def name(self) -> str:
        """See ``Place.name``."""
        return f"openneuro:{self.dataset}@{self.version}"

    @property
    def download(self) -> OpenNeuroDownload:
        """By openneuro-py, into a folder of these patterns."""
        some = f"-{sha256_of_json(self.only)[:8]}" if self.only else ""
        return OpenNeuroDownload(place=self, path=f"openneuro/{self.dataset}/{self.version}{some}")

    def candidates(self, roots: Sequence[Path]) -> Sequence[Path]:
        """See ``Place.candidates``: it bears its name once it is whole."""
        return [root / self.download.path for root in roots]


@dataclass(frozen=True, kw_only=True)
class OpenNeuroDownload(Download):
    """What openneuro-py downloads."""

    place: OpenNeuroPlace
    path: str
    megabytes: int | None = None

    @property
    def address(self) -> str:
        """The page of the version."""
        return f"https://openneuro.org/datasets/{self.place.dataset}/versions/{self.place.version}"

    def measured(self) -> OpenNeuroDownload:
        """See ``Download.measured``.

        Raises:
            DatasetError: No client or network, no such version, or no file is called so.
        """
        try:
            from openneuro._glob import glob_filter  # what the client's patterns mean
        except ImportError:
            raise self._error(
                f"openneuro-py is not installed, which fetches it: {install_command('openneuro')}"
            ) from None
        sizes = self._sizes()
        wanted = set(sizes)
        if self.place.only:
            found = glob_filter(sizes, self.place.only)
            if lacking := [pattern for pattern, names in found.items() if not names]:
                raise self._error(
                    f"no file there is called as {lacking[0]!r}. Correct the field fetch_only"
                )
            wanted = set().union(*found.values())
        return replace(self, megabytes=sum(sizes[name] for name in wanted) // 10**6 + 1)

    def _sizes(self) -> dict[str, int]:
        """Bytes of each file of the version, by its name."""
        import requests

        query = (
            f'query {{ snapshot(datasetId: "{self.place.dataset}", tag: "{self.place.version}") '
            "{ files(recursive: true) { filename size } } }"
        )
        try:
            answer = requests.post(_API, json={"query": query}, timeout=_TIMEOUT_SECONDS)
            answer.raise_for_status()
            files = answer.json()["data"]["snapshot"]["files"]
            return {str(file["filename"]): int(file["size"] or 0) for file in files}
        except requests.JSONDecodeError as error:
            raise self._error("its answer is not understood. Try again later") from error
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            what = f"answers {status}" if status else f"cannot be reached ({type(error).__name__})"
            raise self._error(f"OpenNeuro {what}. Try again") from error
        except (LookupError, TypeError, ValueError) as error:
            raise self._error(
                f"there is no such version, or it is not open. Look at {self.address}"
            ) from error

    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Have the client get it; what a download that broke off left is gone on with.

        Raises:
            DatasetError: No client, network or space, or another process is at it.
        """
        import openneuro
        from filelock import FileLock, Timeout

        unfinished = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
                check_space(target.parent, (self.megabytes or 0) * 10**6)
                openneuro.download(
                    dataset=self.place.dataset,
                    tag=self.place.version,
                    target_dir=unfinished,
                    include=list(self.place.only) or None,
                )
                shutil.rmtree(target, ignore_errors=True)
                unfinished.replace(target)
        except Timeout:
            raise DatasetError(
                f"{target}: another process is fetching it. Wait for it and give the command again."
            ) from None
        except OSError as error:
            raise self._error(
                f"{target}: cannot be written, or the connection broke ({error.strerror or error})"
                ". Free space there or name another folder with --data-dir, and give the command "
                "again: it goes on where it was"
            ) from error
        except Exception as error:  # the client raises RuntimeError for nearly all
            raise self._error(
                f"openneuro-py fails ({str(error).strip()[:300]}). Give the command again: it goes "
                "on where it was"
            ) from error
        return f"{self.place.name}, with the sizes and sums that OpenNeuro says"

    def _error(self, what: str) -> DatasetError:
        return DatasetError(f"{self.place.name}: cannot be fetched. {what} ({self.address}).")
