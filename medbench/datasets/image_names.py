"""What is an image file, told by names alone: one rule for every verb.

Whatever may be an image by its name is opened in the end, and its content decides. What cannot be
one, or is an image of the wrong kind (a thumbnail, a mask), is left out and counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from medbench.datasets.readers import image_suffixes

HIDDEN = "hidden file(s) or folder(s)"
SYSTEM = "file(s) or folder(s) of operating systems and programs"
THUMBNAILS = "thumbnail(s) or checkpoint(s)"
OTHER = "note(s) or other file(s)"
MASKS = "mask(s) or the like"
LINKS = "link(s) that lead to no file"
EXCLUDED = "excluded file(s)"
"""Kinds of what is left out."""

_SYSTEM_NAMES = frozenset({
    "__macosx", "__pycache__", "$recycle.bin", "#recycle", "#snapshot", "@eadir", "lost+found",
    "system volume information", "recycler", "@recycle", "@recently-snapshot", "@snapshot", "@tmp",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "zbthumbnail.info",
    "pspbrwse.jbf",
})  # fmt: skip
_THUMBNAIL_FOLDERS = frozenset({"thumbnails", "thumbnail", "thumbs", "thumb", "checkpoints"})
_OTHER_NAMES = frozenset({
    "authors", "changelog", "changes", "checksums", "citation", "contributing", "copying",
    "dicomdir", "dockerfile", "license", "licence", "makefile", "manifest", "md5sums", "notice",
    "readme", "sha256sums", "version",
})  # fmt: skip
_OTHER_WORDS = """
    txt text md rst rtf pdf doc docx odt ppt pptx tex bib html htm css log nfo
    csv tsv xls xlsx xlsm ods json jsonl geojson xml yaml yml toml ini cfg conf
    npy npz mat h5 hdf5 parquet feather arrow pkl pickle joblib rds rda rdata sav
    pt pth ckpt onnx keras tflite pb skops ubj safetensors tfrecord tfrecords
    py pyc ipynb r rmd m c cpp h java js ts sh bat ps1 exe dll so
    zip tar tgz rar 7z bz2 xz iso db sqlite sqlite3 sql lnk url torrent lock
    inf jar cab xsl md5 sha1 sha256 sig part crdownload tmp bak swp roi imglab names mp3 wav
"""
_OTHER_SUFFIXES = frozenset(f".{word}" for word in _OTHER_WORDS.split())
"""Of what is no image; files of any other suffix, and without one, are opened to see."""
_WORD = (
    "masks?|masked|seg|segm|segs|segmentations?|segmented|labels?|labelmaps?|gt|ground[ ._-]?truth|"
    "anno|annot|annotations?|annotated|rois?|contours?|outlines?|overlays?|superpixels?|heatmaps?"
)
_NUMBER = r"(?:[ ._-]*\(?\d{1,3}\)?)?"
_ENDING = re.compile(rf"[ ._-]*(?:({_WORD})|thumb|thumbnail|checkpoint){_NUMBER}$", re.IGNORECASE)
"""The end of a name that is another's plus this; the word, where it is a mask's."""
_WORD_BEFORE = re.compile(r"[ ._-]+(?!with|no$)[a-z]+$")
"""As in x_lung_mask; but x_with_mask is no mask."""
_WORD_BEHIND = re.compile(rf"(.+[ ._-](?:{_WORD}))[ ._-]+[a-z\d]+", re.IGNORECASE)
"""As in x_mask_left."""
_PREFIXED = re.compile(rf"(?:({_WORD})|thumb|thumbnail)[ ._-]+(.+)", re.IGNORECASE)
_AUGMENTED = re.compile(
    r"(?<![a-z])(?:aug|augm|augmented|augmentation|flip|flipped|hflip|vflip|rot|rotated)(?![a-z])",
    re.IGNORECASE,
)
_AUGMENTED_HINTS = ("aug", "flip", "rot")
_LEAST_PAIRS = 3
_SEPARATOR = re.compile(r"[ ._-]+")
_HINTS = (
    "mask", "seg", "label", "gt", "truth", "anno", "roi", "contour", "outline", "overlay", "pixel",
    "heat", "thumb", "check",
)  # fmt: skip
"""One of them is in every name that was made of another; a quick look at many names."""
_FILLERS = frozenset({"image", "images", "img", "imgs", "png", "jpg", "binary", "data", "class",
                      "object", "tr", "ts", "train", "test", "val", "all"})  # fmt: skip
_MASK_FOLDERS = frozenset({
    "mask", "masks", "seg", "segs", "segm", "segmentation", "segmentations", "label", "labels",
    "labelmap", "labelmaps", "annotation", "annotations", "annot", "gt", "groundtruth",
    "groundtruths", "roi", "rois", "contour", "contours", "overlay", "overlays", "heatmap",
    "heatmaps", "superpixels",
})  # fmt: skip
_PLURAL = frozenset({"masks", "labels", "labelmaps", "annotations", "segmentations", "groundtruth",
                     "groundtruths", "contours", "overlays", "heatmaps"})  # fmt: skip
"""Folders whose last word is one of these hold masks; with_mask may well be a class."""


def why_left_out(name: str, *, folder: bool = False) -> str:
    """What a file or folder is by its own name, if it holds no image; "" where it may hold one.

    Which folders hold masks, and which files are masks, is told beside others: ``mask_folders``,
    ``derived_from_others``.

    Args:
        name: Its name without the folders above.
        folder: Whether it is a folder.
    """
    if name.startswith("."):
        return HIDDEN
    lower = name.lower()
    if lower in _SYSTEM_NAMES or lower.endswith((":zone.identifier", ":encryptable")):
        return SYSTEM
    if folder:
        return THUMBNAILS if lower.strip("_-") in _THUMBNAIL_FOLDERS else ""
    suffix = lower[lower.rfind(".") :]
    if suffix in _OTHER_SUFFIXES or lower in _OTHER_NAMES or lower.endswith("~"):
        return "" if suffix in image_suffixes() else OTHER
    return ""


def composed(name: str) -> str:
    """A name in composed Unicode: one way to write what may be written in two."""
    return unicodedata.normalize("NFC", name)


def words_in(name: str) -> list[str]:
    """The words of a folder's name in lower case: ``trainingSet_2`` is training, set, 2."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def _holds_masks(name: str) -> bool:
    """Whether a folder is called as those of masks are."""
    text = " ".join(words_in(name)).replace("ground truth", "groundtruth")
    words = text.split()
    meant = [word for word in words if word not in _FILLERS]
    if meant and all(word in _MASK_FOLDERS for word in meant):
        return True
    return bool(words) and words[-1] in _PLURAL


def mask_folders(names: Iterable[str]) -> set[str]:
    """Those of the folders in a folder that are called as folders of masks are.

    By themselves, or beside others: ``benign_mask`` is where there is a ``benign``.
    """
    lower = {name: composed(name).lower() for name in names}
    beside = set(lower.values())
    found = set()
    for name, text in lower.items():
        derived = any(base in beside and kind == MASKS for base, kind, _ in _bases(text))
        if derived or _holds_masks(name):
            found.add(name)
    return found


def derived_from_others(names: Iterable[str], stems: Collection[str]) -> dict[str, str]:
    """Those of the files in a folder that were made of other images, and what they are.

    Args:
        names: Files of one folder that may be images.
        stems: What ``stem_of`` gives for all files of the data set.

    Returns:
        ``MASKS`` or ``THUMBNAILS`` by name: ``x_mask.png`` and ``x_lung_mask.png`` where there is
        an ``x`` of any format, or an ``x_flair`` in the same folder; ``mask_x.png`` where ``x`` or
        ``scan_x`` is in the same folder.
    """
    here = {name: stem_of(name) for name in names}
    suspects = {
        name: found
        for name, stem in here.items()
        if any_derived([stem]) and (found := _bases(stem))
    }
    all_here = set(here.values())
    others = {stem for name, stem in here.items() if name not in suspects}
    signs = [(stem, sign) for stem in others for sign in _SEPARATOR.finditer(stem)]
    begun = all_here | {stem[: sign.start()] for stem, sign in signs}
    ended = all_here | {stem[sign.end() :] for stem, sign in signs}
    return {
        name: kind
        for name, found in suspects.items()
        for base, kind, suffixed in found
        if (base in stems or base in begun if suffixed else base in ended)
    }


def _bases(stem: str) -> list[tuple[str, str, bool]]:
    """What a name may be made of: the other's, the kind, and whether it is a suffix that tells."""
    found = []
    if match := _WORD_BEHIND.fullmatch(stem):
        found += _bases(match[1])
    base, kind = _without_ending(stem)
    if kind:
        found.append((base, kind, True))
        if before := _WORD_BEFORE.search(base):
            found.append((base[: before.start()], kind, True))
    if match := _PREFIXED.fullmatch(stem):
        found.append((match[2], MASKS if match[1] else THUMBNAILS, False))
    return found


def _without_ending(stem: str) -> tuple[str, str]:
    """A name without all that tells a mask or a thumbnail at its end, and which; "" for neither."""
    kind = ""
    while (match := _ENDING.search(stem)) and match.start():
        stem, kind = stem[: match.start()], MASKS if match[1] else kind or THUMBNAILS
    return stem, kind


def paired_suffix(stems: Collection[str]) -> tuple[str, int]:
    """What every second picture of a pair has behind the other's name, as ``x_crop`` beside ``x``.

    Args:
        stems: What ``stem_of`` gives for all images.

    Returns:
        What is behind the name, and how often; "" and 0 where there is no such thing.
    """
    behind: Counter[str] = Counter()
    for stem in stems:
        cut = max(map(stem.rfind, "_- ."))
        if cut > 0 and stem[:cut] in stems and not stem[cut + 1 :].isdigit():
            behind[stem[cut:]] += 1
    suffix, n = behind.most_common(1)[0] if behind else ("", 0)
    return (suffix, n) if n >= _LEAST_PAIRS and 3 * n >= len(stems) else ("", 0)


def augmented(names: Sequence[str]) -> list[str]:
    """Those of the names that say that an image was turned or mirrored, as ``x_rot90``.

    Args:
        names: Names relative to the data set.
    """
    text = "\n".join(names).lower()
    if not any(hint in text for hint in _AUGMENTED_HINTS):
        return []
    return [name for name in names if _AUGMENTED.search(name)]


def any_derived(names: Iterable[str]) -> bool:
    """Whether ``derived_from_others`` need look at these files at all."""
    text = "\n".join(names).lower()
    return any(hint in text for hint in _HINTS)


def stem_of(name: str) -> str:
    """The name of a file without its suffix (of ``x.nii.gz`` both), in lower case."""
    lower = composed(name).lower()
    stem = lower.rpartition(".")[0] or lower
    return stem.removesuffix(".nii")


class LeftOut:
    """Counts what is left out, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()

    def add(self, kind: str, name: str) -> None:
        """One file or folder more."""
        self.counts[kind] += 1
        if kind == OTHER:
            suffix = name.rpartition(".")[2].lower()
            self._suffixes[f".{suffix}" if "." in name else name] += 1

    def update(self, other: LeftOut) -> None:
        """What another one counted as well."""
        self.counts.update(other.counts)
        self._suffixes.update(other._suffixes)

    @property
    def traces_only(self) -> bool:
        """Whether there is nothing, or only what systems leave in a folder that was emptied."""
        return not any(self.counts[kind] for kind in (MASKS, THUMBNAILS, OTHER, LINKS, EXCLUDED))

    @property
    def recoverable(self) -> bool:
        """Whether something was left out of which a person may think otherwise."""
        return bool(self.counts[MASKS] or self.counts[THUMBNAILS])

    def __str__(self) -> str:
        """In words; "" where there is nothing."""
        said = []
        for kind in (MASKS, THUMBNAILS, OTHER, HIDDEN, SYSTEM, LINKS, EXCLUDED):
            if n := self.counts[kind]:
                some = ", ".join(suffix for suffix, _ in self._suffixes.most_common(4))
                words = kind.replace("(s)", "s" if n > 1 else "")
                said.append(f"{n:,} {words}" + (f" ({some})" if kind == OTHER else ""))
        return ", ".join(said)
