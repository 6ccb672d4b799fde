"""What MedBench itself can download: anything at all, and a file under an official sum."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench.atomic_files import place_file
from medbench.errors import DatasetError
from medbench.hashes import hash_of_file
from medbench.web import DownloadError, download


class Download(ABC):
    """One data set as somebody publishes it, which MedBench itself can get.

    A source that has a download need not know how its files get here: it lists what is located,
    and what was downloaded is located at ``path`` below a data folder.
    """

    path: str
    """Where the file or folder belongs: a path with ``/``, relative to a data folder; empty where
    it lies elsewhere (``target``)."""
    megabytes: int | None
    """Most that is downloaded, in units of 10**6 bytes; told before the download begins. None
    where nobody says it beforehand."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is published, for people to read and to get it by hand."""

    @property
    def asks_again(self) -> bool:
        """Whether what is published may have changed, so that ``datasets fetch`` asks again."""
        return False

    def measured(self) -> Download:
        """The same, with its size, where that has to be asked.

        Raises:
            DatasetError: It cannot be had; says what to do.
        """
        return self

    @property
    def size(self) -> str:
        """Most that is downloaded, in words."""
        return (
            "a size that is not told before"
            if self.megabytes is None
            else f"at most {self.megabytes:,} MB"
        )

    def target(self, folder: Path) -> Path:
        """Where it goes.

        Args:
            folder: The data folder that was chosen.
        """
        return folder / self.path

    @abstractmethod
    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Get it, whole or not at all.

        Args:
            target: See ``target``.
            progress: Progress bar as pooch asks for it (``total``, ``update``, ``reset``,
                ``close``); None for none.

        Returns:
            How it is known to be what it should be, as "its MD5 is the official one".

        Raises:
            DatasetError: It cannot be had, or what came is not what it should be; says what to
                put where by hand.
        """


@dataclass(frozen=True, kw_only=True)
class RemoteFile(Download):
    """A file that is published on the web under a known sum."""

    url: str
    """Where it is downloaded from."""
    checksum: str
    """Its sum as it is published, in hexadecimal digits; empty where none is known."""
    algorithm: str = "md5"
    """What the sum is: md5 or sha256."""
    path: str
    """See ``Download.path``."""
    megabytes: int | None = None
    """See ``Download.megabytes``."""

    @property
    def address(self) -> str:
        """Its URL."""
        return self.url

    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Download it, under another name until it is whole and its sum is right.

        A download that breaks off begins anew once, and else the next time. One with a wrong sum
        is kept beside the target, with ``.wrong-md5`` behind its name, and not used.

        Raises:
            DatasetError: No network, a refusing server, a full disk, a wrong sum, or another
                process is at it.
        """
        from filelock import FileLock, Timeout

        unfinished = target.with_name(f".{target.name}.part")  # one name: none is left for ever
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
                shutil.rmtree(unfinished, ignore_errors=True)
                try:
                    part = unfinished / target.name
                    unfinished.mkdir()
                    proof = self._get(part, progress)
                    found = hash_of_file(part, self.algorithm)
                    if found == self.checksum or not self.checksum:
                        place_file(part, target)
                        return proof
                    aside = target.with_name(f"{target.name}.wrong-{self.algorithm}")
                    part.replace(aside)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
        except Timeout:
            raise DatasetError(
                f"{target}: another process is fetching it. Wait for it and give the command again."
            ) from None
        except DownloadError as error:
            known = f" ({self._sum} {self.checksum})" if self.checksum else ""
            raise DatasetError(
                f"{self.url}: cannot be fetched ({error}). Try again, or get the file on "
                f"any computer that reaches it and put it at {target}{known}."
            ) from error
        except OSError as error:
            needed = "" if self.megabytes is None else f"; it may need {self.megabytes:,} MB"
            raise DatasetError(
                f"{target}: cannot be written ({error.strerror or error}){needed}. Free space or "
                "permissions there, or name another folder with --data-dir or MEDBENCH_CACHE."
            ) from error
        raise DatasetError(
            f"{self.url}: what came has the {self._sum} sum {found}, but the official one is "
            f"{self.checksum}. It is kept as {aside} and not used. Try again; if that gives the "
            "same sum, something between here and there changes it: get it elsewhere and put it "
            f"at {target}."
        )

    @property
    def _sum(self) -> str:
        return self.algorithm.upper()

    def _get(self, part: Path, progress: Any | None) -> str:
        """Download it to a path; how it is known to be what it should be, where its sum fits."""
        download(self.url, part, progress=progress)
        return f"its {self._sum} is the official one"
