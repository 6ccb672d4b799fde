"""A file on the web, ``https://HOST/FILE#sha256=SUM[/PATH/IN/IT]``, known by its sum."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from medbench.atomic_files import place_file
from medbench.datasets.download import Download, RemoteFile
from medbench.datasets.places.base import Place, path_inside
from medbench.datasets.remembered import remembered
from medbench.errors import ConfigurationError, DatasetError
from medbench.hashes import hash_of_file, sha256_of_text

FOLDER = "web"
"""Below a data folder, where such files lie: each in a folder that is called as its sum."""
_DIGITS = {"md5": 32, "sha256": 64}
_SUM = re.compile(r"(?P<algorithm>[a-z0-9]+)=(?P<sum>[0-9a-fA-F]+)(/(?P<inside>.*))?", re.DOTALL)
_FILE = re.compile(r"[\w][\w .+()-]{0,149}")


@dataclass(frozen=True, kw_only=True)
class WebPlace(Place):
    """One file at an address."""

    url: str
    """Its address."""
    algorithm: str = "sha256"
    """What its sum is: md5 or sha256."""
    checksum: str = ""
    """Its sum in hexadecimal digits; empty where nobody says it."""

    @classmethod
    def parse(cls, text: str) -> WebPlace:
        """The whole address.

        Raises:
            ConfigurationError: It is no address of a file, or its sum cannot be one.
        """
        url, _, behind = text.partition("#")
        url = re.sub(r"^(https?):/(?!/)", r"\1://", url)  # as pathlib has it
        host, path = urlsplit(url).hostname or "", unquote(urlsplit(url).path)
        if host.endswith("kaggle.com"):
            raise ConfigurationError(f"{url}: write kaggle:OWNER/NAME for a data set on Kaggle.")
        if not (host and url.isprintable() and _FILE.fullmatch(PurePosixPath(path).name)):
            raise ConfigurationError(f"{url}: is no address of a file, as https://HOST/NAME.zip.")
        if not behind:
            return cls(url=url)
        match = _SUM.fullmatch(behind)
        if match is None or _DIGITS.get(match["algorithm"]) != len(match["sum"]):
            raise ConfigurationError(
                f"{url}: {behind[:100]!r} cannot be its sum. Write #sha256= and 64 hexadecimal "
                "digits behind the address, or #md5= and 32."
            )
        return cls(
            url=url,
            algorithm=match["algorithm"],
            checksum=match["sum"].lower(),
            inside=path_inside(match["inside"] or "", text),
        )

    @property
    def name(self) -> str:
        """See ``Place.name``."""
        return f"{self.url}#{self.algorithm}={self.checksum}" if self.checksum else self.url

    @property
    def title(self) -> str:
        """See ``Place.title``."""
        return PurePosixPath(self.inside).name or PurePosixPath(self.file).stem

    @property
    def lacks(self) -> str:
        """See ``Place.lacks``."""
        return (
            ""
            if self.checksum
            else f"{self.url}: has no sum, so nobody would notice another file there. "
            f"python -m medbench datasets fetch {self.url} fetches it and prints what to write."
        )

    @property
    def file(self) -> str:
        """Its name, which is safe as one here."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def path(self) -> str:
        """Where it lies below a data folder."""
        return f"{FOLDER}/{self.checksum[:16]}/{self.file}"

    @property
    def download(self) -> Download:
        """The file under its sum; without one it is computed and told."""
        if not self.checksum:
            return UnknownFile(place=self)
        return RemoteFile(
            url=self.url, checksum=self.checksum, algorithm=self.algorithm, path=self.path
        )

    def candidates(self, roots: Sequence[Path]) -> Sequence[Path]:
        """See ``Place.candidates``: a file that has the sum."""
        return [file for root in roots if self._is_it(file := root / self.path)]

    def _is_it(self, file: Path) -> bool:
        def compute(path: Path) -> str:
            return hash_of_file(path, self.algorithm)

        try:
            return file.exists() and remembered(file, self.algorithm, compute) == self.checksum
        except OSError:
            return False


@dataclass(frozen=True, kw_only=True)
class UnknownFile(Download):
    """A file whose sum nobody says: it is told once the file is here."""

    place: WebPlace
    path: str = FOLDER
    megabytes: int | None = None

    @property
    def address(self) -> str:
        """Its URL."""
        return self.place.url

    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Download it, and say how an entry names it.

        Raises:
            DatasetError: As ``RemoteFile.fetch``.
        """
        first = target / sha256_of_text(self.place.url)[:16] / self.place.file
        RemoteFile(url=self.place.url, checksum="", path="").fetch(first, progress)
        try:
            known = replace(self.place, checksum=hash_of_file(first))
            kept = target.parent / known.path
            kept.parent.mkdir(exist_ok=True)
            place_file(first, kept)
            shutil.rmtree(first.parent, ignore_errors=True)
        except OSError as error:
            raise DatasetError(f"{first}: {error.strerror or error}. Try again.") from error
        return f"write {known.name} in its entry"
