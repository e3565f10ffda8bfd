"""Figures: how they are made from samples, shown, and kept."""

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured: the median of its rounds, beside a ceiling of the same run and an aim, where there are any."""

    name: str
    unit: str
    rounds: Sequence[float]
    ceiling_rounds: Sequence[float] = ()
    ceiling_name: str = ""
    aim: str = ""
    met: bool | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.rounds)

    @property
    def ceiling(self) -> float | None:
        return statistics.median(self.ceiling_rounds) if self.ceiling_rounds else None

    @property
    def ratio(self) -> float | None:
        """Of rates: the share of the ceiling that is reached. Of times: how many times the ceiling's."""
        return self.value / self.ceiling if self.ceiling else None


@dataclass(slots=True)
class Results:
    """What a run found."""

    quick: bool
    figures: list[Figure] = field(default_factory=list)
    costs_us: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """Processor microseconds per operation: by what was done, by process."""
    foreign_shares: dict[str, float] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    """Further tables, in Markdown."""
    remarks: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        return {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": {
                "processors": psutil.cpu_count(),
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
            },
            "figures": [
                {
                    **asdict(figure),
                    "value": round(figure.value, 3),
                    "ceiling": None if figure.ceiling is None else round(figure.ceiling, 3),
                    "ratio": None if figure.ratio is None else round(figure.ratio, 3),
                }
                for figure in self.figures
            ],
            "cpu_us_per_operation": self.costs_us,
            "share_of_machine_used_by_others": self.foreign_shares,
            "remarks": self.remarks,
        }


def percentile(sample: Sequence[float], share: float) -> float:
    """The value that `share` of the sample does not exceed."""
    ordered = sorted(sample)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def steady_rate(instants_ns: Sequence[int]) -> float:
    """Per second, between the first tenth and the last: neither the start nor the stragglers."""
    ordered = sorted(instants_ns)
    first, last = len(ordered) // 10, len(ordered) * 9 // 10
    return (last - first) / max(1e-9, (ordered[last] - ordered[first]) / 1e9)


def table(results: Results) -> str:
    """Everything, as Markdown."""
    lines = ["| figure | value | ceiling in the same run | ratio | aim | met |", "|---|--:|---|--:|---|---|"]
    for figure in results.figures:
        ceiling = "" if figure.ceiling is None else f"{_number(figure.ceiling)} ({figure.ceiling_name})"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        met = {True: "yes", False: "**no**", None: ""}[figure.met]
        lines.append(
            f"| {figure.name} | {_number(figure.value)} {figure.unit} | {ceiling} | {ratio} | {figure.aim} | {met} |"
        )
    names = list(dict.fromkeys(name for costs in results.costs_us.values() for name in costs))
    if names:
        lines += [
            "",
            f"| processor µs per operation | {' | '.join(names)} | others used |",
            "|---|" + "--:|" * (len(names) + 1),
        ]
    for what, costs in results.costs_us.items():
        cells = " | ".join(_number(costs[name]) if name in costs else "–" for name in names)
        lines.append(f"| {what} | {cells} | {results.foreign_shares.get(what, 0):.0%} |")
    for further in results.tables:
        lines += ["", further]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in results.remarks)]).rstrip()


def keep(results: Results, bench: str) -> None:
    """Write `results/<bench>.json` and, between the marks of that bench, the README's tables. Of a quick run nothing is kept."""
    if results.quick:
        return
    document = results.document()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{bench}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    begin, end = f"<!-- results of {bench}: written by the bench -->", f"<!-- end of the results of {bench} -->"
    before, _, rest = README.read_text().partition(begin)
    _, _, after = rest.partition(end)
    measured = f"Measured at {document['measured_at']} with Python {platform.python_version()}; medians of the rounds."
    README.write_text(f"{before}{begin}\n{measured}\n\n{table(results)}\n{end}{after}")


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 or not value else f"{value:.2g}"
