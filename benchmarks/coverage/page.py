"""The tables of the coverage benchmark, on a terminal and in a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from simulate import MOSTLY, Covered, FalseAlarms, Setting

_SETTING = ("images", "positive", "a group", "tested on", "AUROC")
_COVERED = (*_SETTING, "groups of the class", "covers", "warned", "none", "width", "verdict")
_ALARMS = (*_SETTING, "models", "leader", "separated", "warned")


def as_markdown(
    covered: Sequence[Covered], alarms: Sequence[FalseAlarms], simulations: int, replicates: int
) -> str:
    """What failed in words, then both tables."""
    lines = [
        f"{simulations} simulations a row, {replicates} replicates an interval. Shares in percent.",
        "",
        *_summary(covered),
        "",
        *_table(_COVERED, [_covered_row(each) for each in covered]),
        "",
        "How often any of some equally good models is called separated (should be 5 or less):",
        "",
        *_table(_ALARMS, [_alarm_row(each) for each in alarms]),
    ]
    return "\n".join(lines)


def _summary(covered: Sequence[Covered]) -> list[str]:
    """One sentence for each verdict, naming the settings where the level is missed."""
    by_verdict = {
        verdict: [each for each in covered if each.verdict == verdict]
        for verdict in ("holds", "nearly", "misses, warned", "MISSES", "no interval")
    }
    lines = [
        f"- Between 93 and 97 in {len(by_verdict['holds'])} of {len(covered)} settings (holds).",
        f"- No interval is given in {len(by_verdict['no interval'])}: some fold has fewer than two "
        "groups of a class.",
    ]
    near = by_verdict["nearly"]
    for said, named in (
        (
            "Outside by less than twice the simulation's own error, and the reader is warned",
            [each for each in near if (each.warned or 0) >= MOSTLY],
        ),
        (
            "Outside by less than that, and the reader is not warned",
            [each for each in near if (each.warned or 0) < MOSTLY],
        ),
        ("Missed, and the reader is warned", by_verdict["misses, warned"]),
        ("**Missed without a warning**", by_verdict["MISSES"]),
    ):
        names = "; ".join(
            f"{', '.join(_setting(each.setting))}: {100 * (each.covers or 0):.1f}" for each in named
        )
        lines.append(f"- {said}: {f'{len(named)} ({names})' if names else 'none'}.")
    quiet = [each.unwarned_covers for each in covered if each.unwarned_covers is not None]
    if quiet:
        lines.append(
            f"- Mean over settings of what intervals without a warning cover: "
            f"{100 * sum(quiet) / len(quiet):.1f}."
        )
    return lines


def _setting(setting: Setting) -> tuple[str, ...]:
    images = "1 image" if setting.per_group == 1 else f"{setting.per_group} images"
    return (
        f"{setting.images}",
        f"{100 * setting.prevalence:.0f}%",
        images,
        "folds" if setting.cross_validated else "one set",
        f"{setting.auroc:g}",
    )


def _covered_row(each: Covered) -> tuple[str, ...]:
    return (
        *_setting(each.setting),
        f"{each.positive_groups} in {each.folds}" if each.folds > 1 else f"{each.positive_groups}",
        _percent(each.covers),
        _percent(each.warned),
        _percent(1 - each.given),
        "" if each.width is None else f"{each.width:.3f}",
        each.verdict,
    )


def _alarm_row(each: FalseAlarms) -> tuple[str, ...]:
    shares = (_percent(each.separated), _percent(each.warned))
    return (*_setting(each.setting), str(each.models), each.leader, *shares)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    return lines
