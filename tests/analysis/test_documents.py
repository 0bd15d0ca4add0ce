"""The pages of docs/results are what the committed records say: a stale one fails here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev

import pytest
from scipy import stats
from synthetic_records import make_record

from oscbench import catalog, words
from oscbench.analysis.frame import Loaded, load
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.failures import Threshold
from oscbench.analysis.study import assemble
from oscbench.records import Record
from oscbench.records.ledger import find_ledgers
from oscbench.reporting.documents import Document, contents, make, names, table, write
from oscbench.reporting.documents.support.standings import comparison_cells
from oscbench.reporting.documents.support.suites import FAILS, description_of

KOPE = (Entry("kope", "default"), Entry("kope", "moving"))
NEAR_CHANCE = "Caption or exchanged digits: seeds within 10 points of chance"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> Loaded:
    return load(ROOT / "results" / "reference")


@pytest.fixture(scope="module")
def made(reference: Loaded) -> dict[str, Document]:
    return {name: make(name, reference) for name in names()}


@pytest.mark.parametrize("name", names())
def test_page_says_what_the_records_say(name: str, made: dict[str, Document]) -> None:
    committed = (ROOT / "docs" / "results" / f"{name}.md").read_text(encoding="utf-8")
    assert committed == made[name].text, "stale: python -m oscbench.reporting.documents writes it anew"


@pytest.mark.parametrize("name", names())
def test_pictures_are_there_in_light_and_dark(name: str, made: dict[str, Document]) -> None:
    for file in made[name].pictures:
        assert file in made[name].text
        assert (ROOT / "docs" / "results" / file).is_file()
        assert {f"{file.rpartition('-')[0]}-{look}.svg" for look in ("light", "dark")} <= set(
            made[name].pictures
        )


def test_a_number_that_changes_makes_a_page_stale(reference: Loaded, made: dict[str, Document]) -> None:
    changed = []
    for record in reference.records:
        if (record.suite, record.mechanism) == ("agreement", "softmax"):
            own = record.measures[record.metric]
            worse = own.model_copy(update={"value": float(own.value or 0) - 0.01})
            record = record.model_copy(update={"measures": record.measures | {record.metric: worse}})
        changed.append(record)
    other = make("claims", Loaded(tuple(changed), (), ()))
    assert other.text != made["claims"].text


def test_a_page_shows_a_suite_from_three_seeds_on() -> None:
    def shown(seeds: int) -> bool:
        made = [make_record(name, seed) for name in ("softmax", "kope") for seed in range(seeds)]
        made.append(make_record("softmax", 9))  # one that began beside the others
        for name in ("chance", "bag", "place"):  # floors run once for all seeds
            floor = make_record(name, 0)
            made.append(floor.model_copy(update={"spec": {**floor.spec, "kind": "floor"}}))
        records = [r.model_copy(update={"suite": "recall"}) for r in made]
        return "(recall)" in make("recall_and_keywords", Loaded(tuple(records), (), ())).text

    assert (shown(2), shown(3)) == (False, True)


def test_a_page_tells_no_records_from_too_few() -> None:
    def told(name: str, suites: Mapping[str, int]) -> str:
        made = {suite: [make_record("softmax", seed) for seed in range(n)] for suite, n in suites.items()}
        records = [r.model_copy(update={"suite": suite}) for suite, some in made.items() for r in some]
        return make(name, Loaded(tuple(records), (), ())).text

    suites = (
        ("sudoku", "sudoku"),
        ("captions", "captions"),
        ("agreement", "agreement"),
        ("segmentation", "camvid"),
        ("without_labels", "object_discovery"),
    )
    for name, suite in suites:
        assert "no records here yet" in told(name, {})
        few = told(name, {suite: 2})
        assert "records of fewer than three seeds, too few to show" in few
        assert "no records" not in few
    beside = told("recall_and_keywords", {"recall": 3, "keywords": 2})
    assert "Of keywords there are records of fewer than three seeds" in beside


def test_suites_are_described_by_their_files_else_by_their_records() -> None:
    """Records keep what a suite said when it ran; its file may have been mended since."""
    mended = description_of("robustness_digits", "Stale.")
    assert mended.startswith("Is AKOrN")
    assert "\n" not in mended
    assert description_of("robustness_digits[train.epochs=3]", "Stale.") == mended
    assert description_of("nobody_ships_this", "As it ran.\n") == "As it ran."


@pytest.mark.parametrize("name", FAILS)
def test_seeds_fail_where_their_task_says(name: str) -> None:
    """Reports load no torch and so no task: what pages say of failing is written there too, and is the same here."""
    task = catalog.load("tasks", name)
    assert FAILS[name] == Threshold(task.failure.metric, task.failure.level, task.metric.direction)


def toy(mechanism: str, values: list[float], **changes: object) -> list[Record]:
    return [
        make_record(mechanism, seed, suite="vision_small", value=value, data_hash="d", **changes)  # type: ignore[arg-type]
        for seed, value in enumerate(values)
    ]


def test_a_difference_stands_beside_its_own_baseline(made: dict[str, Document]) -> None:
    """A column of differences has one baseline, which its heading names; of several each stands in a table of its own."""
    text = made["images"].text
    assert "| Minus softmax" not in text, "its suites declare comparisons with several baselines"
    assert "| KoPE − RoPE (values) |" in text
    assert "| Minus softmax" in made["agreement"].text


def test_a_page_says_first_who_is_better_than_whom() -> None:
    noise = [0.001 * (seed % 3) for seed in range(8)]
    level = [0.03 * (-1) ** seed for seed in range(8)]
    cells = [
        *toy("wave", [0.7 + x for x in noise]),
        *toy("other", [0.8 + x for x in noise[::-1]]),
        *toy("same", [0.5 + x for x in level]),
        *toy("plain", [0.5] * 8),
    ]

    def told(*names: str) -> str:
        asked = [
            pair
            for name, pair in (("better", ("wave", "plain")), ("other", ("other", "plain")))
            if name in names
        ]
        declared = [*asked, ("same", "plain")] if "same" in names else asked
        records = [r.model_copy(update={"spec_given": r.spec_given | {"compare": declared}}) for r in cells]
        text = make("images", Loaded(tuple(records), (), ())).text
        assert text.splitlines()[2] == "In short:"
        return text.splitlines()[4]

    assert told("better") == "- Digits (vision_small): wave *better than* plain."
    assert told("better", "other").endswith(": wave and other *better than* plain.")
    assert told("better", "same").endswith(
        ": wave *better than* plain; same *not clearly different from* plain."
    )
    undeclared = make("images", Loaded(tuple(cells), (), ())).text
    assert "(vision_small), not declared beforehand: " in undeclared
    assert "\nWhat was not declared beforehand only suggests: fresh seeds must confirm.\n" in undeclared


def test_a_page_says_first_what_its_title_asks(made: dict[str, Document]) -> None:
    """Beside comparisons of headline metrics: who binds, what comes first, whom loops help."""
    for name, said in (
        ("segmentation", "KoPE: clusters of its last phases find objects with FG-ARI 0.4"),
        ("concentration", "which is half of its way first (not declared beforehand)"),
        ("sudoku", "harder boards solved after 4 and after 32 loops (not declared beforehand): KoPE from 5"),
    ):
        short, _, rest = made[name].text.partition("Made from the [reference")
        assert said in short, name
        assert rest


def test_the_readmes_picture_leaves_out_no_declared_answer_to_its_first_two_questions(
    reference: Loaded, made: dict[str, Document]
) -> None:
    """KoPE against RoPE with rotated values and against itself with still phases: those with a verdict, whichever side they are on."""
    controls = {
        *(Entry("rope", name) for name in ("values", "values-kope-flops")),
        *(Entry("kope", name) for name in ("frozen", "still")),
    }
    rows = made["differences"].text.split("\n|")
    missing = []
    for experiment in assemble(reference, []).experiments:
        for c in experiment.comparisons:
            asked = c.pair.treatment in KOPE and c.pair.baseline in controls
            judged = c.role == "confirms" and not c.withheld and not c.only_estimated and c.unit == "fraction"
            if asked and judged and c.paired and "[" not in experiment.suite:
                told = comparison_cells(c)
                missing += [(experiment.suite, told)] * (not any(told[0] in r and told[1] in r for r in rows))
    assert not missing
    assert "−3.18 points [−5.73, −0.63]" in made["differences"].text


def test_phases_are_compared_layer_by_layer_and_scenes_of_another_size_pair_by_pair(
    reference: Loaded, made: dict[str, Document]
) -> None:
    text = made["segmentation"].text
    grouped = next(
        line
        for line in text.split("(scene_panoptic)\n")[1].splitlines()
        if line.startswith("| KoPE − KoPE (frozen), mixed phases")
    )
    ends = [
        [
            r.measures["binding_mixed_fg_ari"].details["end"][2]
            for r in records(reference, "scene_panoptic", *entry)
        ]
        for entry in (("kope", "default"), ("kope", "frozen"))
    ]
    gains = [one - other for one, other in zip(*ends, strict=True)]
    spread = stdev(gains) * float(stats.t.ppf(0.975, 7)) / 8**0.5
    assert (
        words.estimate(mean(gains), mean(gains) - spread, mean(gains) + spread, "1") in grouped.split("|")[4]
    )
    larger = next(
        line for line in text.splitlines() if line.startswith("| mIoU on scenes of 48") and "[" in line
    )
    assert "−5.80 points [−9.40, −2.21]" in larger


def records(reference: Loaded, suite: str, mechanism: str, variant: str) -> list[Record]:
    """Its reported cells, by seed."""
    found = [r for r in reference.records if (r.suite, r.mechanism, r.variant) == (suite, mechanism, variant)]
    return sorted(found, key=lambda r: r.seed)


def test_a_search_that_has_no_cell_to_report_yet_chose_nothing(made: dict[str, Document]) -> None:
    search = made["text"].text.split("Preceding search:")[1].split("\n## ")[0]
    assert "Begun, with no cell to report yet: ssa:default." in search
    assert "| ssa:default" not in search
    assert "| KoPE " in search


def test_what_varies_is_told_value_by_value(made: dict[str, Document]) -> None:
    text = made["efficiency"].text.split("(training_efficiency_digits)\n")[1]
    overall, by_value = text.split("By training steps, each interval for itself:")
    heading, _, *rows = by_value.strip().splitlines()[:5]
    assert [cell.strip() for cell in heading.split("|")[2:-1]] == ["50", "100", "200", "400", "800"]
    for row in rows:
        name, *cells = (cell.strip() for cell in row.split("|")[1:-1])
        mean = sum(float(cell.split()[0].replace("−", "-")) for cell in cells) / 5
        (said,) = [
            line for line in overall.splitlines() if line.startswith(f"| {name} ") and "points" in line
        ]
        assert float(said.split("|")[2].split()[0].replace("−", "-")) == pytest.approx(mean, abs=0.011)


def test_what_is_lost_from_clean_images_is_told_beside_accuracy(made: dict[str, Document]) -> None:
    text = made["robustness"].text
    _, lost, gained = text.split("paired by seed")[-3:]

    def row(part: str, begins: str) -> list[str]:
        return next(line for line in part.splitlines() if line.startswith(f"| {begins}")).split("|")[2:-1]

    # An attack sees some of the images, and what it costs is told on those.
    for change, before in (
        ("PGD, L∞ radius 0.03", "The images of the attack, unchanged"),
        ("Noise of 0.2", "Clean"),
    ):
        for three in zip(row(lost, change), row(gained, change), row(gained, before), strict=True):
            first, second, third = (float(cell.split()[0].replace("−", "-")) for cell in three)
            assert first == pytest.approx(second - third, abs=0.011)


def test_why_verdicts_are_withheld_is_told_once() -> None:
    noise = [0.001 * (seed % 3) for seed in range(8)]
    floor = [r.model_copy(update={"spec": r.spec | {"kind": "floor"}}) for r in toy("bag", [0.9])]
    cells = [*toy("wave", [0.9 + x for x in noise]), *toy("plain", [0.89 - x for x in noise]), *floor]
    text = make("images", Loaded(tuple(cells), (), ())).text
    assert text.count("this task ranks no entries") == 1
    assert "Verdicts are withheld: the best entry" in text


def test_training_without_labels_is_told_beside_what_attends_to_nothing() -> None:
    floors = [r.model_copy(update={"spec": r.spec | {"kind": "floor"}}) for r in toy("pixels", [0.37])]
    cells = [*toy("wave", [0.30, 0.31, 0.32]), *toy("plain", [0.20, 0.21, 0.22]), *floors]

    def text(records: list[Record]) -> str:
        named = tuple(r.model_copy(update={"suite": "self_supervised"}) for r in records)
        return make("without_labels", Loaded(named, (), ())).text

    (line,) = [row for row in text(cells).splitlines() if "at best" in row]
    assert line.endswith("at best wave 31.0 %; of what attends to nothing, pixels 37.0 %.")
    assert "Verdicts are withheld: " in text(cells)
    assert "at best" not in text(cells[:-1]), "no floor was recorded"


def test_flags_stand_in_tables_where_there_are_any() -> None:
    def shown(flags: tuple[str, ...]) -> str:
        made = [make_record("softmax", seed) for seed in range(3)]
        made += [make_record("kope", seed, flags=flags if seed else ()) for seed in range(3)]
        records = [r.model_copy(update={"suite": "keywords"}) for r in made]
        return make("recall_and_keywords", Loaded(tuple(records), (), ())).text

    flagged = shown(("phases only",))
    assert "| Flags " in flagged
    assert "phases only (2/3)" in flagged
    assert "no Kuramoto step is ever taken" in flagged
    assert "Flags" not in shown(())


def test_captions_count_seeds_near_chance(made: dict[str, Document]) -> None:
    """A mean over seeds of two kinds is no finding: plain RoPE's was 81.8 % ± 15.3."""
    lines = made["captions"].text.split("Differences, paired by seed")[0].splitlines()
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if line.startswith("| ")}
    names = [name.strip() for name in cells["Asked"]]
    counted = dict(zip(names, map(str.strip, cells[NEAR_CHANCE]), strict=True))
    worst = dict(
        zip(names, map(str.strip, cells["Caption or exchanged digits: its worst seed"]), strict=True)
    )
    for name, count in counted.items():
        if name.startswith("floor"):
            assert count == ""
        else:
            assert (float(worst[name].removesuffix(" %")) < 60) == (not count.startswith("0 of "))


def test_what_was_searched_stands_beside_what_came_of_it(reference: Loaded) -> None:
    own = tuple(r for r in reference.records if r.suite == "tuned_digits")
    text = make("images", Loaded(own, (), (), reference.folder)).text
    (ledger,) = [
        found for _, found in find_ledgers(ROOT / "results" / "reference") if found.suite == "tuned_digits"
    ]
    table_of_search = text.split("| Mechanism     | Chosen")[1].splitlines()[2:]
    for entry in ledger.entries:
        beyond = sum(row.extension > 0 for row in entry.trials)
        ends = f"| {len(entry.trials)} | {beyond} |"
        rate = f"learning rate {entry.chosen['train.learning_rate']:g}"
        assert any(rate in row and " ".join(row.split()).endswith(ends) for row in table_of_search)
    assert "Chosen" not in make("images", Loaded(own, (), ())).text, "no folder, no ledger"


def test_one_command_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Loaded) -> None:
    monkeypatch.setattr("oscbench.reporting.documents.load", lambda results: reference)
    monkeypatch.setattr("oscbench.reporting.documents.names", lambda: ["claims"])
    written = write(Path("nowhere"), tmp_path / "docs")
    assert written == [tmp_path / "docs" / "claims.md", tmp_path / "docs" / "README.md"]


def test_the_folder_leads_to_every_page(made: dict[str, Document]) -> None:
    committed = (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    assert committed == contents(made).text, "stale: python -m oscbench.reporting.documents writes it anew"
    assert all(f"]({name}.md)" in committed for name in names())


def test_tables_escape_what_would_end_a_cell() -> None:
    assert table(("a", "b"), [("x|y", "1")], numbers=1).splitlines()[2] == "| x\\|y |   1 |"


def test_times_of_two_devices_stand_apart(reference: Loaded) -> None:
    """A GPU's records beside those that are there: a table of their own, and no time beside scores of cells that a CPU trained."""
    timed = [r for r in reference.records if r.suite == "timing_models"]
    gpu = [
        r.model_copy(update={"device": "cuda", "finished_utc": r.finished_utc + timedelta(days=9)})
        for r in timed
    ]
    both = Loaded((*reference.records, *gpu), (), ())
    text = make("cost", both).text
    assert "## timing_models (cpu)" in text
    assert "## timing_models (cuda)" in text
    assert make("quality_and_time", both).text == make("quality_and_time", reference).text
