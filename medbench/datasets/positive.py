"""Which of two classes is the positive one: a person says so, a name proposes it, or it is asked.

The positive class is the one that sensitivity, precision and prevalence are of. It stands last in
``Task.classes``; this decides which one that is, and remembers how it was decided.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medbench.datasets.findings import quoted
from medbench.datasets.listing import Listing
from medbench.datasets.task import Task
from medbench.errors import DatasetError, UndecidedError

WRITTEN = "as written"
BY_NAME = "proposed by its name"
GUESSED = "guessed from the alphabet"
UNKNOWN = "how it was chosen was not recorded"
"""How the positive class was decided; the last of runs that did not record it."""

_HEALTHY, _BENIGN, _NEITHER, _NAMED, _ILL = range(5)
"""What the name of a class speaks of: health, something harmless, nothing that is known, a certain
disease (which the other class may be too, under a name that is not known), or being ill."""
_SAYING = {
    _HEALTHY: "normal health healthy unaffected unremarkable control ctrl none negative neg absent "
    "absence false 0 0.0 - -1",
    _BENIGN: "benign nevus naevus nevi naevi other rest background",
    _NAMED: "pneumonia covid covid19 tuberculosis tb glioma meningioma melanoma lymphoma sarcoma "
    "carcinoma adenocarcinoma leukemia leukaemia metastasis metastases polyp cyst mass nodule "
    "calcification fracture hemorrhage haemorrhage stroke infarct effusion edema oedema "
    "pneumothorax cardiomegaly atelectasis emphysema fibrosis cirrhosis opacity infiltrate "
    "glaucoma retinopathy cataract dementia alzheimer",
    _ILL: "positive pos present presence true yes + abnormal abnormality anomaly disease diseased "
    "sick ill pathology pathological pathologic finding lesion tumor tumour neoplasm cancer "
    "cancerous malignant malignancy infected infection parasitized parasitised affected fractured "
    "bleeding demented",
}
_WORDS = {word: form for form, words in _SAYING.items() for word in words.split()}
_NOT = ("no", "not", "without")
"""What comes after one of these is absent; after "non" only the next word is."""
_LACKING = ("negative", "neg", "absent", "free")
"""What stands beside one of these is absent: "COVID negative", "tumour free"."""
_GLUED = re.compile(rf"(?:no|not|non|un)({'|'.join(w for w in _WORDS if w.isalpha())})s?")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?")
"""A word of a name, be it ``no_finding``, ``NoFinding`` or ``COVID-19``."""


def in_words(positive: str, decided: str) -> str:
    """The positive class, and how it was decided; "" where there is none."""
    return f"positive class: {positive} ({decided})" if positive else ""


def with_positive(listing: Listing, wanted: str, *, written: bool, needed_for: str) -> Listing:
    """The listing with the positive of two classes last, and how that was decided.

    Args:
        listing: What a source lists.
        wanted: The class that its entry calls positive; empty where it calls none so.
        written: Whether somebody put the classes into order, so that the last one is positive.
        needed_for: What depends on the positive class, in words; empty where nothing does.

    Raises:
        DatasetError: The class that is wanted is none of two.
        UndecidedError: Only the alphabet tells, and something depends on it.
    """
    classes = listing.classes
    if not Task(classes=classes, image_shape=(1, 1, 1), task_type=listing.task_type).binary:
        if wanted:
            raise DatasetError(
                f"the positive class is to be {quoted(wanted)} (as the entry, the command or "
                "the run has it), but only one of two classes is that, and here are "
                f"{len(classes)} {'labels' if listing.task_type == 'multi-label' else 'classes'}: "
                f"{', '.join(classes)}. Leave it out."
            )
        return listing
    if wanted and wanted not in classes:
        raise DatasetError(
            f"the positive class is to be {quoted(wanted)} (as the entry, the command or the "
            f"run has it), but the classes are {quoted(classes[0])} and {quoted(classes[1])}. Name "
            "one of them."
        )
    decided = WRITTEN
    if not wanted and not written:
        wanted = proposed(classes)
        decided = BY_NAME if wanted else GUESSED
    if decided == GUESSED and needed_for:
        raise UndecidedError(
            f"{needed_for} is about the positive class, the one to be found, and nothing says "
            f"which of {quoted(classes[0])} and {quoted(classes[1])} that is. For one run it may "
            "be said with --positive of python -m medbench run.",
            field="positive",
            choices={
                name: f"find {quoted(name)} among {quoted(other)}"
                for name, other in zip(classes, reversed(classes), strict=True)
            },
        )
    if wanted != classes[0]:
        return replace(listing, positive_decided=decided)
    return replace(
        listing,
        classes=(classes[1], classes[0]),
        table=listing.table.assign(label=1 - listing.table["label"]),
        positive_decided=decided,
    )


def proposed(classes: Sequence[str]) -> str:
    """Which of two classes is the one to be found, by their names; empty where they do not tell."""
    first, second = map(_speaks_of, classes)
    if first is None or second is None or first == second:
        return ""
    if min(first, second) > _BENIGN and {first, second} != {_NEITHER, _ILL}:
        return ""  # two diseases, or a disease and what may be one
    return classes[0] if first > second else classes[1]


def _speaks_of(name: str) -> int | None:
    """What the name of a class speaks of; None where it speaks of health and disease both."""
    if name.strip() in _WORDS:
        return _WORDS[name.strip()]
    words = [word.lower() for word in _WORD.findall(name)]
    lacking = any(word in _LACKING for word in words)
    found: set[int] = set()
    for position, word in enumerate(words):
        before, after = words[:position], words[position + 1 : position + 2]
        absent = any(one in _NOT for one in before) or before[-1:] == ["non"]
        if word in (*_NOT, "non"):
            if not after or _of_word(after[0]) is None:
                found.add(_HEALTHY)  # "no", "no_DR", "without_mask"
        elif word[0].isdigit() and after:
            continue  # "0-5 years" is no 0
        elif (form := _of_word(word)) is not None:
            found.add(_opposite(form) if absent or (lacking and form > _NEITHER) else form)
        elif glued := _GLUED.fullmatch(word):
            found.add(_opposite(_WORDS[glued[1]]))
    if _BENIGN in found:  # "benign tumour" is none to be found
        return min(found)
    if _HEALTHY in found and len(found) > 1:
        return None
    return max(found, default=_NEITHER)


def _of_word(word: str) -> int | None:
    return _WORDS.get(word, _WORDS.get(word.removesuffix("s")))


def _opposite(form: int) -> int:
    return _ILL if form <= _BENIGN else _HEALTHY
