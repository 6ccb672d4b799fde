"""Kaggle's data sets, ``kaggle:OWNER/NAME[@VERSION][/PATH/IN/IT]``, by Kaggle's own client.

They lie in the client's own cache, so what other programs fetched is found, too. The client has no
call that says what is there without asking Kaggle; its folders say it: a version lies whole in
``datasets/OWNER/NAME/versions/3`` where ``datasets/OWNER/NAME/3.complete`` stands (kagglehub 0.2 to
1.0). In a notebook on Kaggle or Colab it returns a folder that is mounted there, which is noted.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench.cache import cache_folder, keep_note, read_note
from medbench.datasets.download import Download
from medbench.datasets.places.base import Place, path_inside
from medbench.errors import ConfigurationError, DatasetError
from medbench.hashes import sha256_of_text
from medbench.versions import install_command

_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_HANDLE = re.compile(
    rf"(?P<owner>{_NAME})/(?P<dataset>{_NAME})(@(?P<version>[1-9][0-9]{{0,8}}))?(/(?P<inside>.*))?",
    re.DOTALL,
)
_COMPETITIONS = ("c", "competitions")
_NO_OWNERS = ("datasets", "code", "models")
"""What stands before the owner in addresses of Kaggle's pages."""
_HOW = "write kaggle:OWNER/NAME, with @VERSION behind it for one version, and then /PATH/IN/IT"


@dataclass(frozen=True, kw_only=True)
class KagglePlace(Place):
    """One data set, or one version of it."""

    owner: str
    """Who published it."""
    dataset: str
    """Its name in the address of its page."""
    version: int | None = None
    """From 1; None for the highest that is here, and for the current one where it is fetched."""

    @classmethod
    def parse(cls, text: str) -> KagglePlace:
        """What stands behind ``kaggle:``.

        Raises:
            ConfigurationError: It is no data set.
        """
        first = text.split("/")[0]
        if first in _COMPETITIONS or re.fullmatch(_NAME, text):
            raise ConfigurationError(
                f"'kaggle:{text}' names no data set but a competition: its files have no versions, "
                "so results on them cannot be repeated, and its rules must be accepted in person. "
                "Get its zip by hand, unpack it and name its folder instead; for a data set, "
                f"{_HOW}."
            )
        match = _HANDLE.fullmatch(text)
        if match is None or first in _NO_OWNERS:
            raise ConfigurationError(
                f"'kaggle:{text[:200]}' cannot be a data set of Kaggle: {_HOW}."
            )
        inside = path_inside(match["inside"] or "", f"kaggle:{text}")
        if inside.split("/")[0] == "versions" and match["version"] is None:
            raise ConfigurationError(
                f"'kaggle:{text[:200]}': a version stands behind an @; {_HOW}."
            )
        version = None if match["version"] is None else int(match["version"])
        return cls(owner=match["owner"], dataset=match["dataset"], version=version, inside=inside)

    @property
    def name(self) -> str:
        """See ``Place.name``."""
        return self._named(self.version)

    @property
    def download(self) -> KaggleDownload:
        """By Kaggle's client, into its own cache."""
        return KaggleDownload(place=self)

    def candidates(self, roots: Sequence[Path]) -> Sequence[Path]:
        """See ``Place.candidates``: what the client returned, else what is whole in its cache."""
        known = read_note(self._note)
        noted = [Path(known)] if isinstance(known, str) else []
        versions = self._whole() if self.version is None else [self.version]
        return [*noted, *(self._folder(n) for n in versions if n in self._whole())]

    def pinned(self, found: Path) -> str:
        """See ``Place.pinned``; a mounted folder does not tell its version."""
        return self._named(self._version_of(found) or self.version)

    def note(self, returned: Path) -> str:
        """Remember where the client says that it lies; how a path names just that."""
        if self._version_of(returned) is None:
            keep_note(self._note, str(returned))
        return self.pinned(returned)

    @property
    def cached(self) -> Path:
        """Where the client keeps its versions."""
        home = os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache/kagglehub"
        return Path(home) / "datasets" / self.owner / self.dataset

    def _named(self, version: int | None) -> str:
        return f"kaggle:{self.owner}/{self.dataset}" + (f"@{version}" if version else "")

    def _folder(self, version: int) -> Path:
        return self.cached / "versions" / str(version)

    def _whole(self) -> list[int]:
        """The versions that are whole in the client's cache, the highest first."""
        names = [path.stem for path in self.cached.glob("*.complete")]
        found = [int(name) for name in names if re.fullmatch("[1-9][0-9]{0,8}", name)]
        return sorted((n for n in found if self._folder(n).is_dir()), reverse=True)

    def _version_of(self, folder: Path) -> int | None:
        """Which version a folder of the client's cache is; None for another folder."""
        versions = [n for n in self._whole() if self._folder(n).resolve() == folder.resolve()]
        return versions[0] if versions else None

    @property
    def _note(self) -> Path:
        key = sha256_of_text("kaggle", self.owner, self.dataset, self.version)[:32]
        return cache_folder() / "checked" / f"{key}.json"


@dataclass(frozen=True, kw_only=True)
class KaggleDownload(Download):
    """What Kaggle's client downloads, and unpacks in its cache."""

    place: KagglePlace
    path: str = ""
    megabytes: int | None = None

    @property
    def address(self) -> str:
        """The page of the data set."""
        return f"https://www.kaggle.com/datasets/{self.place.owner}/{self.place.dataset}"

    @property
    def asks_again(self) -> bool:
        """Whether no version was named, so that there may be a newer one."""
        return self.place.version is None

    def target(self, folder: Path) -> Path:
        """The client's own cache, whatever the data folder is."""
        return self.place.cached

    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Have the client get it; what is in its cache is not downloaded again.

        Raises:
            DatasetError: No client, network or space, or Kaggle refuses.
        """
        place = self.place
        try:
            import kagglehub
            import requests
        except ImportError:
            raise self._error(
                f"kagglehub is not installed, which fetches it: {install_command('kaggle')}"
            ) from None
        handle = f"{place.owner}/{place.dataset}"
        handle += "" if place.version is None else f"/versions/{place.version}"
        try:
            pinned = place.note(Path(kagglehub.dataset_download(handle)))
        except requests.HTTPError as error:  # of the client's own, also without an answer
            raise self._error(
                self._refused(getattr(error.response, "status_code", None))
            ) from error
        except requests.RequestException as error:
            raise self._error(
                f"Kaggle cannot be reached ({type(error).__name__}). Mend the connection and give "
                "the command again"
            ) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise self._error(
                f"{target}: cannot be written ({error.strerror or error}). "
                + ("Free space there" if full else "Mend its permissions")
                + ", or name another folder with the environment variable KAGGLEHUB_CACHE"
            ) from error
        except Exception as error:  # the client's many kinds have no common one
            raise self._error(
                f"Kaggle's client fails ({type(error).__name__}: {str(error).strip()[:300]}). "
                "Give the command again"
            ) from error
        return f"{pinned}, as Kaggle publishes it" + (
            f"; write {pinned} in its entry to keep to this version"
            if place.version is None and pinned != place.name
            else ""
        )

    def _refused(self, status: int | None) -> str:
        """What an answer of Kaggle's means, and what to do."""
        if status in (401, 403):
            from kagglehub.config import get_kaggle_credentials

            if get_kaggle_credentials() is None or status == 401:
                return (
                    f"Kaggle wants to know who you are ({status}). Make a token at "
                    "https://www.kaggle.com/settings and put it into the environment variable "
                    "KAGGLE_API_TOKEN, or the file kaggle.json that it gives into ~/.kaggle"
                )
            return (
                f"Kaggle refuses it to you ({status}): its licence is not accepted yet, or it is "
                f"private. Accept the licence at {self.address}, signed in as the owner of the "
                "token"
            )
        if status == 404:
            return f"Kaggle does not have it (404). Correct its name after {self.address}"
        return f"Kaggle answers {status}. Give the command again later"

    def _error(self, what: str) -> DatasetError:
        return DatasetError(
            f"{self.place.name}: cannot be fetched. {what}; or get its zip by hand at "
            f"{self.address}, unpack it and name its folder in place of {self.place.name}."
        )
