"""A file of Zenodo, Figshare or a Dataverse, ``doi:10.5281/zenodo.123/FILE[/PATH/IN/IT]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medbench.datasets.download import RemoteFile
from medbench.datasets.places.base import Place, path_inside
from medbench.errors import ConfigurationError
from medbench.web import download_of_doi

_DOI = re.compile(
    r"(?P<doi>10\.[0-9]{4,9}/(DVN/|FK2/)?[A-Za-z0-9][A-Za-z0-9._;()-]{0,99})"
    r"/(?P<file>\w[\w .+()-]{0,149})(/(?P<inside>.*))?",
    re.DOTALL,
)
_REPOSITORIES = "Zenodo, Figshare or a Dataverse"


@dataclass(frozen=True, kw_only=True)
class DoiPlace(Place):
    """One file of a record."""

    doi: str
    """The record's, of one version of it."""
    file: str
    """Name of the file there."""

    @classmethod
    def parse(cls, text: str) -> DoiPlace:
        """What stands behind ``doi:``.

        Raises:
            ConfigurationError: It names no file of a record.
        """
        match = _DOI.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"'doi:{text[:200]}' cannot be a file of {_REPOSITORIES}: write "
                "doi:10.5281/zenodo.NUMBER/FILE, with the DOI of one version and the name that "
                "the file has on its page."
            )
        inside = path_inside(match["inside"] or "", f"doi:{text}")
        return cls(doi=match["doi"], file=match["file"], inside=inside)

    @property
    def name(self) -> str:
        """See ``Place.name``."""
        return f"doi:{self.doi}/{self.file}"

    @property
    def title(self) -> str:
        """See ``Place.title``."""
        return PurePosixPath(self.inside).name or PurePosixPath(self.file).stem

    @property
    def path(self) -> str:
        """Where it lies below a data folder."""
        return f"doi/{self.doi.replace('/', '_')}/{self.file}"

    @property
    def download(self) -> DoiFile:
        """The file, under the sum that the repository says."""
        url = f"https://doi.org/{self.doi}"
        return DoiFile(url=url, checksum="", path=self.path, doi=self.doi, file=self.file)

    def candidates(self, roots: Sequence[Path]) -> Sequence[Path]:
        """See ``Place.candidates``."""
        return [root / self.path for root in roots]


@dataclass(frozen=True, kw_only=True)
class DoiFile(RemoteFile):
    """A file whose address and sum are asked of the repository."""

    doi: str
    file: str

    def _get(self, part: Path, progress: Any | None) -> str:
        checksum = download_of_doi(self.doi, self.file, part, progress=progress)
        return f"its {checksum.replace(':', ' ')} is the one that the repository says"
