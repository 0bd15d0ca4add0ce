"""The README's first picture: the differences that answer the question, question by question; what else lies between the two is named."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.choices import position_of
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.frame import Loaded
from oscbench.analysis.limits import VERDICT_SEEDS
from oscbench.analysis.study import Study
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents.support.forest import Row, forest
from oscbench.reporting.documents.support.standings import comparison_cells
from oscbench.reporting.documents.support.suites import nothing_of, report_of

RANK = 10
_VALUES = "values rotated in both"
_SEARCHED = "equal search but beyond ranges"
_RATES = "equal search of rates"
_PARAMS = "equal parameters"
_GROUPS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "KoPE against RoPE with rotated values",
        (
            ("digits, tuned", "tuned_digits", "kope,rope:values", f"{_SEARCHED}; {_VALUES}"),
            ("digits, 18 epochs", "vision_small", "kope,rope:values", f"{_PARAMS}; {_VALUES}"),
            (
                "digits, every layer looked at",
                "concentration_digits",
                "kope,rope:values",
                f"{_PARAMS}; {_VALUES}",
            ),
            ("CIFAR-10, 600 steps", "concentration", "kope,rope:values", f"{_PARAMS}; {_VALUES}"),
            ("CIFAR-10, tuned", "tuned_cifar10", "kope,rope:values", f"{_SEARCHED}; {_VALUES}"),
            ("CIFAR-10, 12 layers", "depth", "kope:moving,rope:values", f"{_PARAMS}; {_VALUES}"),
            ("made scenes, mIoU", "scene_segmentation", "kope,rope:values", f"{_RATES}; {_VALUES}"),
            (
                "scenes, mIoU, equal FLOPs",
                "scene_segmentation",
                "kope,rope:values-kope-flops",
                f"{_RATES}; {_VALUES}",
            ),
            ("made scenes, PQ", "scene_panoptic", "kope,rope:values", f"{_RATES}; {_VALUES}"),
            (
                "scenes, PQ, equal FLOPs",
                "scene_panoptic",
                "kope,rope:values-kope-flops",
                f"{_RATES}; {_VALUES}",
            ),
            (
                "scenes, PQ, two rates",
                "scene_panoptic_rates",
                "kope,rope:values",
                f"{_PARAMS}; {_VALUES}",
            ),
            ("streets, mIoU", "camvid", "kope,rope:values", f"{_RATES}; {_VALUES}"),
            ("streets, mIoU, equal FLOPs", "camvid", "kope,rope:values-kope-flops", f"{_RATES}; {_VALUES}"),
            ("streets, two rates for both", "camvid_rates", "kope,rope:values", f"{_PARAMS}; {_VALUES}"),
            (
                "words, one layer",
                "keywords",
                "kope,rope:values",
                f"{_PARAMS}; {_VALUES}; no phase moves in one layer",
            ),
            ("captions", "captions", "kope,rope:values", f"{_PARAMS}; {_VALUES}"),
            ("made Sudoku", "sudoku", "kope,rope:values", f"{_RATES}; {_VALUES}"),
            ("real Sudoku", "sudoku_satnet", "kope,rope:values", f"{_PARAMS}; {_VALUES}"),
        ),
    ),
    (
        "KoPE against itself with phases that never move",
        (
            ("digits, every layer looked at", "concentration_digits", "kope,kope:frozen", _PARAMS),
            ("CIFAR-10, 600 steps", "concentration", "kope,kope:frozen", _PARAMS),
            ("CIFAR-10, tuned", "tuned_cifar10", "kope,kope:frozen", _SEARCHED),
            ("CIFAR-10, 12 layers", "depth", "kope:moving,kope:still", _PARAMS),
            ("made scenes, mIoU", "scene_segmentation", "kope,kope:frozen", _RATES),
            ("made scenes, PQ", "scene_panoptic", "kope,kope:frozen", _RATES),
            ("streets, mIoU", "camvid", "kope,kope:frozen", _RATES),
            ("streets, two rates for both", "camvid_rates", "kope,kope:frozen", _PARAMS),
            ("captions", "captions", "kope,kope:frozen", _PARAMS),
            ("made Sudoku", "sudoku", "kope,kope:frozen", _RATES),
            ("real Sudoku", "sudoku_satnet", "kope,kope:frozen", _PARAMS),
        ),
    ),
    (
        "RoPE with rotated values against RoPE",
        (
            ("digits, tuned", "tuned_digits", "rope:values,rope", _SEARCHED),
            (
                "digits, 20 seeds",
                "kope_values",
                "kope:frozen-unmixed,rope",
                "KoPE less all but rotated values, which is RoPE with them; equal parameters and FLOPs",
            ),
            ("digits, 18 epochs", "vision_small", "rope:values,rope", _PARAMS),
            ("CIFAR-10, tuned", "tuned_cifar10", "rope:values,rope", _SEARCHED),
            ("made scenes, mIoU", "scene_segmentation", "rope:values,rope", _RATES),
        ),
    ),
    (
        "KoPE against RoPE",
        (
            (
                "made scenes, mIoU",
                "scene_segmentation",
                "kope,rope:default",
                f"{_RATES}; rotated values and phases that move",
            ),
        ),
    ),
    (
        "Against softmax, whose positions are often others",
        (
            ("digits, tuned", "tuned_digits", "kope,softmax", _SEARCHED),
            ("CIFAR-10, 600 steps", "concentration", "kope,softmax", _PARAMS),
            (
                "digits, 50 to 800 steps",
                "training_efficiency_digits",
                "kope:default,softmax:kope-flops",
                "equal FLOPs",
            ),
            ("captions", "captions", "rope:values,softmax", _PARAMS),
            ("agreement", "agreement", "fixed_query,softmax", _PARAMS),
            ("synthesised words", "keywords", "fixed_query,softmax", _PARAMS),
            ("digits, tuned", "tuned_digits", "torus,softmax", _SEARCHED),
            ("digits, tuned", "tuned_digits", "ssa,softmax", _SEARCHED),
        ),
    ),
)
"""Question, and where it was asked: task, suite, pair, and what is equal between the two or differs besides the mechanism; of positions their
records tell. The last group has an axis of its own."""
_ASKED = tuple(row for _, rows in _GROUPS for row in rows)
_MATCHED = 0.01
"""Relative; within so much models are matched."""
_HEAD = """# The differences in README's picture

The README's question: do oscillator attentions buy anything over softmax and RoPE? A row a comparison: accuracy, mIoU, PQ of digits or boards
solved, of the first entry minus the second's, paired by seed. The last column says what else is equal or differs; where positions differ, the
difference may be theirs; FLOPs are named where a forward pass takes more than 1 % more. "50 to 800 steps" is a mean over five lengths of
training, with the shortest and the longest beside. Of the first two questions every comparison of these scores stands here that a suite
declared, ran at eight seeds and was given a verdict; of the others we chose the rows, and the pages of the suites have all. An empty dot was
not declared before its runs.
Searched: settings of "tuned" rows, learning rates of scenes, streets and made Sudoku. All others: one recipe for all. Made from the
[reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Intervals are 95 % t intervals
over seeds, each for itself; the tests, corrected over what each suite asks, stand in [claims](claims.md) and on the pages of the suites.

"""


def document(loaded: Loaded) -> Document:
    """A forest plot of the pairs, and the same as a table."""
    found = [
        (group, where, "; ".join([beside, _positions(study, c), *_flops(c), *_ends(study, c)]), c)
        for group, asked in _GROUPS
        for where, suite, pair, beside in asked
        for study, c in _comparison(loaded, suite, pair)
    ]
    if not found:
        return Document(_HEAD + nothing_of(loaded, [suite for _, suite, _, _ in _ASKED]))
    last = _GROUPS[-1][0]
    panels = (
        [Row(where, c, group) for group, where, _, c in found if group != last],
        [Row(f"{c.treatment}, {where}", c, group) for group, where, _, c in found if group == last],
    )
    picture, files = forest(
        "differences", "Differences in accuracy, mIoU, PQ or boards solved", *filter(None, panels)
    )
    cells = [[where, c.name, *_cells(c), beside] for _, where, beside, c in found]
    headings = ("Task", "Comparison", "Difference", "Seeds", "Between the two")
    return Document(f"{_HEAD}{picture}\n{table(headings, cells)}\n", files)


def _comparison(loaded: Loaded, suite: str, pair: str) -> list[tuple[Study, Comparison]]:
    """One pair of a suite, over all of its values where it varies, corrected with the suite's other pairs here.

    None without records, nor while a suite has run in part, at fewer seeds than a verdict takes.
    """
    pairs = [asked for _, name, asked, _ in _ASKED if name == suite]
    report = report_of(loaded, (suite,), pairs)
    treatment, baseline = pair.split(",")
    for c in report.comparisons if report else ():
        names = [{str(e), e.mechanism} for e in c.pair.__dict__.values()]
        if (
            report
            and treatment in names[0]
            and baseline in names[1]
            and c.paired
            and c.paired.n >= VERDICT_SEEDS
        ):
            return [(report, c)]
    return []


def _positions(study: Study, comparison: Comparison) -> str:
    """Where the tokens' places come from on both sides, as their records say."""
    ours, theirs = (
        sorted(
            {
                position_of(record)
                for experiment in study.experiments
                for standing in experiment.standings
                if standing.entry == entry
                for record in standing.finished
            }
        )
        for entry in (comparison.pair.treatment, comparison.pair.baseline)
    )
    if ours == theirs:
        return f"positions {words.listed(ours)} in both"
    return f"positions {words.listed(ours)} against {words.listed(theirs)}"


def _flops(comparison: Comparison) -> list[str]:
    """Who takes more FLOPs and how many; nothing where they differ by no more than models are matched to."""
    ratio = comparison.costs.flops
    share = max(ratio, 1.0 / ratio) - 1.0
    more = comparison.treatment if ratio > 1.0 else comparison.baseline
    return [f"{more} takes {100 * share:.0f} % more FLOPs"] if share > _MATCHED else []


def _ends(study: Study, comparison: Comparison) -> list[str]:
    """The difference at the smallest and at the largest value of what a suite varies; nothing where it varies nothing."""
    told = []
    for family in study.sweeps:
        if comparison not in family.overall:
            continue
        for value, experiment in (family.points[0], family.points[-1]):
            told += [
                f"{comparison_cells(c)[1]} at {value:g}"
                for c in experiment.comparisons
                if c.pair == comparison.pair and c.paired
            ]
    return told


def _cells(comparison: Comparison) -> tuple[str, str]:
    """The difference and the seeds; no test, which would rest on what this page chose to show."""
    _, difference, _, _, seeds = comparison_cells(comparison)
    return difference, seeds
