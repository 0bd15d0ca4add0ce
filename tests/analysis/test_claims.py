"""Verdicts over grounds, the file of claims, and a page that is what the committed records say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from claim_records import NOISE, WAVE, ask, cells, claim_of, declaring, pair

from oscbench.analysis.claims.evidence import CORRECTED, Evidence, Levels
from oscbench.analysis.claims.ledger import Ask, Claim, Ground, OverFloors, read_claims
from oscbench.analysis.claims.rules import find
from oscbench.analysis.claims.verdicts import Judged, combined, counted, fill
from oscbench.analysis.frame import Loaded, load
from oscbench.analysis.published.numbers import PublishedError
from oscbench.errors import UserError
from oscbench.records import Record

ROOT = Path(__file__).resolve().parents[2]


def test_what_speaks_against_a_claim_is_corrected_over_its_questions() -> None:
    # A mean of 0.95 standard deviations below 0 lies outside the 95 % interval of eight seeds, and inside that of three questions.
    spread = 0.006 * NOISE / NOISE.std(ddof=1)
    below = [0.9 - 0.95 * 0.006 + x for x in spread]
    records = [
        *cells("plain", [0.9] * 8),
        *cells("wave", below),
        *cells("ring", [0.8] * 8),
        *cells("lock", [0.7] * 8),
    ]
    names = ("wave", "ring", "lock")
    loaded = Loaded(tuple(declaring(records, *(f"{t} - plain" for t in names))), (), ())
    wave, ring, lock = (ask("better", treatment=t, baseline="plain") for t in names)

    def outcomes(*grounds: list[Ask]) -> list[str]:
        (entry,) = fill([claim_of(*grounds)], loaded)
        return [finding.outcome for judged in entry.grounds for finding in judged.findings]

    assert outcomes([wave]) == ["does not hold"]
    corrected = ["undecided", "does not hold", "does not hold"]
    assert outcomes([wave, ring, lock]) == corrected
    assert outcomes([wave], [ring], [lock]) == corrected, "one ground is enough against a claim"
    later = [one.model_copy(update={"asked": "later"}) for one in (ring, lock)]
    assert outcomes([wave], later)[0] == "does not hold", "what decides nothing costs nothing"


def test_what_was_chosen_after_the_records_were_there_keeps_a_ground_open_and_decides_none() -> None:
    def verdict(records: list[Record], *asks: Ask) -> tuple[str, list[str]]:
        (entry,) = fill([claim_of(list(asks))], Loaded(tuple(records), (), ()))
        return entry.verdict, entry.lines

    plain = ask("better", **WAVE)
    late = ask("better", **WAVE, asked="after the records existed")
    for lift, found, decided in ((0.02, "holds", "holds in part"), (-0.02, "does not hold", "does not hold")):
        chosen, declared = pair(lift), declaring(pair(lift), "wave - plain")
        assert verdict(declared, plain)[0] == decided
        for records, one in ((chosen, plain), (declared, late)):
            said, lines = verdict(records, one)
            assert said == "undecided"
            assert lines[0].startswith(f"G0: *suggests that it {found}*. ")
    assert verdict(declaring(pair(0.02), "wave - plain"), plain, late)[0] == "undecided"
    assert verdict(declaring(pair(-0.02), "wave - plain"), plain, late)[0] == "does not hold"


def test_what_speaks_against_is_corrected_over_all_kinds_of_questions() -> None:
    """One ground, two kinds: the same difference speaks against a claim alone, and no longer beside others."""
    spread = 0.006 * NOISE / NOISE.std(ddof=1)
    records = [*cells("plain", [0.9] * 8), *cells("wave", [0.9 - 0.95 * 0.006 + x for x in spread])]
    loaded = Loaded(tuple(records), (), ())
    better = ask("better", **WAVE)
    others = [ask("finishes", mechanism="wave"), ask("finishes", mechanism="plain")]
    (alone,), (beside,) = (fill([claim_of(asks)], loaded) for asks in ([better], [better, *others]))
    assert alone.grounds[0].findings[0].outcome == "does not hold"
    found = beside.grounds[0].findings
    assert [one.outcome for one in found] == ["undecided", "holds", "holds"]
    assert found[0].hides == CORRECTED


def test_when_a_question_was_asked_is_told() -> None:
    late = ask("better", **WAVE, asked="after the records existed")
    (entry,) = fill([claim_of([late])], Loaded(tuple(pair(0.02)), (), ()))
    assert entry.lines[0].endswith("; asked after the records existed.")
    assert entry.grounds[0].findings[0].outcome == "holds"


def judged(*outcomes: str, real: bool = True) -> list[Judged]:
    found = []
    for number, one in enumerate(outcomes):
        records = {"holds": pair(0.02), "does not hold": pair(-0.02), "undecided": pair(0.002, noise=3.0)}
        evidence = Evidence(Loaded(tuple(declaring(records.get(one, []), "wave - plain")), (), ()))
        ground = Ground(ground=f"g{number}", real=real and number == 0, asks=(ask("better", **WAVE),))
        found.append(Judged(ground, tuple(find(ground.asks, evidence, Levels()))))
        assert found[-1].outcome == one
    return found


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (("holds", "holds"), "holds"),
        (("holds",), "holds in part"),
        (("holds", "not tested"), "holds in part"),
        (("holds", "does not hold"), "holds in part"),
        (("does not hold", "undecided"), "does not hold"),
        (("does not hold", "not tested"), "does not hold"),
        (("undecided", "not tested"), "undecided"),
        (("not tested", "not tested"), "not tested here"),
    ],
)
def test_a_claim_is_as_good_as_its_grounds(outcomes: tuple[str, ...], verdict: str) -> None:
    assert combined(judged(*outcomes)) == verdict


@pytest.mark.parametrize(
    ("lift", "asked_for", "seeds", "verdict", "told"),
    [
        (-0.02, 0.85, 8, "does not hold", "given"),
        (-0.02, 0.95, 8, "undecided", "not given, so that nothing is decided here"),
        (0.02, 0.95, 8, "undecided", "not given, so that nothing is decided here"),
        (0.02, 0.85, 8, "holds in part", "given"),
        (-0.02, 0.85, 4, "undecided", "not known to be given: estimates only: a verdict takes 8 seeds"),
    ],
)
def test_nothing_is_decided_before_what_must_be_given_is(
    lift: float, asked_for: float, seeds: int, verdict: str, told: str
) -> None:
    learned = ask("level", entry="wave", measure="accuracy", at_least=asked_for)
    ground = Ground(ground="toys", given=(learned,), asks=(ask("better", **WAVE),))
    claim = Claim(id="X1", claim="waves win", source="nobody", grounds=(ground,))
    (entry,) = fill([claim], Loaded(tuple(declaring(pair(lift, seeds=seeds), "wave - plain")), (), ()))
    assert entry.verdict == verdict
    first, second = entry.lines
    assert first.startswith(f"Toys: *{told}*. wave: ")
    assert "wave − plain" in second
    if seeds == 8:
        assert ("*suggests that it " in second) == (told != "given"), (
            "what is not given lets nothing be decided"
        )
    (absent,) = fill([claim], Loaded(tuple(cells("plain", [0.9] * 8)), (), ()))
    assert absent.lines == ["Toys: not tested here."]


def test_what_nobody_measured_is_not_known_to_be_given() -> None:
    ground = Ground(
        ground="toys",
        given=(ask("level", entry="wave", measure="old_rules", at_least=0.9),),
        asks=(ask("better", **WAVE),),
    )
    claim = Claim(id="X1", claim="waves win", source="nobody", grounds=(ground,))
    (entry,) = fill([claim], Loaded(tuple(pair(-0.02)), (), ()))
    assert entry.verdict == "undecided"
    assert entry.lines[0].startswith("Toys: *not known to be given*. ")


def test_a_ground_that_only_suggests_decides_nothing_and_says_why() -> None:
    given = {"id": "X1", "claim": "waves win", "source": "nobody"}
    ground = Ground(ground="toys", asks=(ask("better", **WAVE),))
    records = Loaded(tuple(declaring(pair(-0.02), "wave - plain")), (), ())
    (against,) = fill([Claim(**given, grounds=(ground,))], records)
    assert (against.verdict, against.rests_on_toys) == ("does not hold", True)
    assert counted([against]) == "Of 1 claims: 1 does not hold (1 of them on made or toy data alone)."
    aside = ground.model_copy(update={"suggests": "nobody claims it there"})
    assert Claim(**given, grounds=(ground, aside)).num_questions == 1, (
        "what may not decide needs no correction"
    )
    (entry,) = fill([Claim(**given, grounds=(aside,))], records)
    assert (entry.verdict, entry.rests_on_toys) == ("undecided", False)
    first, second = entry.lines
    assert first.startswith("Toys: *suggests that it does not hold*. ")
    assert second == "Toys: it decides nothing, since nobody claims it there."
    real = ground.model_copy(update={"real": True})
    (entry,) = fill([Claim(**given, grounds=(real,))], records)
    assert not entry.rests_on_toys


def test_a_ground_that_only_suggests_keeps_no_claim_from_holding() -> None:
    real, toy, open_one = judged("holds", "holds", "undecided")
    assert combined((real, toy, open_one)) == "holds in part"
    aside = replace(
        open_one, ground=open_one.ground.model_copy(update={"suggests": "nobody claims it there"})
    )
    assert combined((real, toy, aside)) == "holds"
    assert combined((real, aside)) == "holds in part", "one ground that decides is too few"


def test_a_ground_that_was_changed_cannot_hold_and_says_what_it_was() -> None:
    ground = Ground(ground="toys", asks=(ask("better", **WAVE),), changed="it asked more")
    claim = Claim(id="X1", claim="waves win", source="nobody", grounds=(ground,))
    (entry,) = fill([claim], Loaded(tuple(declaring(pair(0.02), "wave - plain")), (), ()))
    assert entry.verdict == "undecided"
    assert entry.lines[0].startswith("Toys: *suggests that it holds*. ")
    assert entry.lines[1] == ("Toys: changed after the records existed, so it cannot hold: it asked more.")
    (against,) = fill([claim], Loaded(tuple(declaring(pair(-0.02), "wave - plain")), (), ()))
    assert against.verdict == "does not hold"


def test_of_several_grounds_one_holds_only_after_a_correction() -> None:
    """A mean of 0.95 standard deviations above 0 lies outside the 95 % interval of eight seeds, and inside that of three grounds."""
    spread = 0.006 * NOISE / NOISE.std(ddof=1)
    above = [0.9 + 0.95 * 0.006 + x for x in spread]
    records = [*cells("plain", [0.9] * 8), *cells("wave", above), *cells("ring", [0.9 - x for x in spread])]
    loaded = Loaded(tuple(declaring(records, "wave - plain", "ring - plain")), (), ())
    wave, ring = (ask("better", treatment=t, baseline="plain") for t in ("wave", "ring"))

    def found(*grounds: list[Ask]) -> tuple[str, str]:
        (entry,) = fill([claim_of(*grounds)], loaded)
        return entry.verdict, entry.lines[0]

    assert found([wave])[0] == "holds in part"
    verdict, line = found([wave], [ring], [ring])
    assert verdict == "undecided"
    assert "it holds taken alone" in line


def test_without_real_data_nothing_holds_whole() -> None:
    assert combined(judged("holds", "holds", real=False)) == "holds in part"


def test_the_file_names_every_claim_once_and_suites_that_exist() -> None:
    claims = read_claims()
    assert len(claims) == 29
    suites = {path.stem for path in (ROOT / "suites").glob("*.yaml")}
    for claim in claims:
        for ground in claim.grounds:
            assert ground.asks or ground.takes, (
                f"{claim.id}, {ground.ground}: neither asked nor said what it takes"
            )
            assert {one.suite for one in (*ground.given, *ground.asks)} <= suites


def test_where_an_entry_must_be_above_floors_it_must_be_so_on_every_ground_of_its_claim() -> None:
    for claim in read_claims():
        wanted = {
            one.entry for ground in claim.grounds for one in ground.given if isinstance(one, OverFloors)
        }
        for ground in claim.grounds:
            given = {one.entry for one in ground.given if isinstance(one, OverFloors)}
            asked = {getattr(one, "treatment", getattr(one, "entry", "")) for one in ground.asks}
            assert asked & wanted <= given, (claim.id, ground.ground)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "claims: [{id: K, claim: c, source: s, grounds: [{ground: g, asks: [{rule: nicer, suite: x}]}]}]",
            "nicer",
        ),
        ("claims: [{id: K, claim: c, source: s, grounds: []}]", "grounds"),
        ("claims: [{id: K, claim: c, source: s, verdict: holds, grounds: [{ground: g}]}]", "verdict"),
        ("[]", "not readable as claims"),
    ],
)
def test_a_bad_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(PublishedError, match=message) as caught:
        read_claims(path)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def reference() -> Loaded:
    return load(ROOT / "results" / "reference")


def test_what_was_found_by_hand_is_what_the_rules_find(reference: Loaded) -> None:
    entries = {entry.claim.id: entry for entry in fill(read_claims(), reference)}
    gamma = next(line for line in entries["K4"].lines if "gamma=0.0" in line)
    assert "*undecided" in gamma, "p = 0.046 alone, and one of two questions of its ground"
    found = [line for line in entries["K4"].lines if "better, and by less than the margin" in line]
    assert [line.split(":")[0] for line in found] == ["CIFAR-10, 600 steps"]
    assert entries["K4"].verdict == "does not hold", (
        "eleven steps in twelve layers decide; three at most suggest"
    )
    assert entries["F1"].verdict == "undecided", "after 3,600 steps it reads no more words than its floors"
    assert entries["F5"].verdict == "undecided", "a bag of frames reads more digits than it does"
    assert entries["K11"].verdict == "undecided", "phases that never move group as much once they are mixed"
    held = [line for line in entries["K11"].lines if line.startswith("Panoptic scenes: *holds*")]
    assert len(held) == 5, "what was asked before it ran"
    assert entries["S4"].verdict == "does not hold"
    assert "0.81 times the steps [0.68, 0.96]" in " ".join(entries["K1"].lines)
