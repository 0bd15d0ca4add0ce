"""Panoptic quality by its literal definition, matching that is the cheapest of all, and maps merged from queries."""

from __future__ import annotations

import base64
import zlib
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.detection import PanopticQuality

from oscbench import catalog
from oscbench.models.backbones.queries import Queries, QueriesConfig
from oscbench.models.trunk import Output
from oscbench.ops.flops import flop_counter
from oscbench.tasks import ImageInputs
from oscbench.tasks.scene_panoptic import CLASSES, STUFF, ScenePanoptic, ScenePanopticConfig
from oscbench.tasks.support.segments.panoptic import (
    INSTANCES,
    KEPT_SCORE,
    KEPT_SHARE,
    VOID,
    _matching,
    crowd_of,
    merged,
    panoptic_counts,
    panoptic_loss,
    qualities,
    segments_of,
    truth_of,
)
from oscbench.tasks.support.segments.panoptic_floors import SIDE, parts_of
from oscbench.tasks.support.segments.panoptic_task import UNKNOWN

CPU = torch.device("cpu")
SMALL = {"train_scenes": 60, "validation_scenes": 10, "test_scenes": 30}


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path_factory.getbasetemp() / "panoptic-store"))


def made(**settings: object) -> ScenePanoptic:
    return ScenePanoptic(ScenePanopticConfig.model_validate({**SMALL, **settings}))


def literal(
    found: Tensor, ours: list[int], truth: Tensor, theirs: list[int], classes: int, crowd: list[bool]
) -> Tensor:
    """Segment by segment and pixel by pixel, as in the paper and its authors' code."""
    counts = torch.zeros(classes, 4, dtype=torch.float64)
    mine = {i: {p for p, v in enumerate(found.flatten().tolist()) if v == i} for i in range(len(ours))}
    real = {j: {p for p, v in enumerate(truth.flatten().tolist()) if v == j} for j in range(len(theirs))}
    void = {p for p, v in enumerate(truth.flatten().tolist()) if v == -1}
    used, met = set(), set()
    for i, a in mine.items():
        for j, b in real.items():
            if crowd[j] or ours[i] != theirs[j]:
                continue
            union = len((a - void) | b)
            if union and len(a & b) / union > 0.5:
                counts[ours[i], 0] += len(a & b) / union
                counts[ours[i], 1] += 1
                used.add(i)
                met.add(j)
    for j, b in real.items():
        if b and j not in met and not crowd[j]:
            counts[theirs[j], 3] += 1
    for i, a in mine.items():
        if not a or i in used:
            continue
        excused = len(a & void) + sum(len(a & real[j]) for j in real if crowd[j] and theirs[j] == ours[i])
        if excused / len(a) <= 0.5:
            counts[ours[i], 2] += 1
    return counts


@pytest.mark.parametrize("seed", range(30))
def test_counts_are_their_literal_definition(seed: int) -> None:
    """Random maps, in which answers are the truth with errors, some pixels void, some segments crowds, and some of none."""
    generator = torch.Generator().manual_seed(seed)

    def whole(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    number, rows = int(whole(5, 1)), int(whole(4, 1)) + 1
    truth = whole(number + 1, rows, 3).repeat_interleave(3, 0).repeat_interleave(3, 1) - 1
    theirs = whole(3, number).tolist()
    found = torch.where(
        torch.rand(truth.shape, generator=generator) < 0.75, truth, whole(number + 1, *truth.shape) - 1
    )
    ours = [c if torch.rand(1, generator=generator) < 0.7 else int(whole(3, 1)) for c in theirs]
    crowd = (torch.rand(number, generator=generator) < 0.25).tolist()
    expected = literal(found, ours, truth, theirs, 3, crowd)
    assert torch.allclose(panoptic_counts(found, ours, truth, theirs, 3, crowd), expected)


def library(items: list[tuple[Tensor, list[int], Tensor, list[int]]], classes: int, stuff: int) -> Tensor:
    """(classes, 3), PQ, SQ and RQ of torchmetrics, whose void is a class that it does not know."""
    metric = PanopticQuality(
        things=set(range(classes)) - {stuff},
        stuffs={stuff},
        return_sq_and_rq=True,
        return_per_class=True,
        allow_unknown_preds_category=True,
    )

    def coloured(segments: Tensor, names: list[int]) -> Tensor:
        """(1, h, w, 2): class and number of every pixel's segment."""
        found = torch.tensor([classes, 0]).repeat(*segments.shape, 1)
        for number, name in enumerate(names):
            found[segments == number] = torch.tensor([name, 0 if name == stuff else number + 1])
        return found[None]

    for found, ours, truth, theirs in items:
        metric.update(coloured(found, ours), coloured(truth, theirs))
    return metric.compute().squeeze(0)


@pytest.mark.parametrize("seed", range(10))
def test_qualities_are_those_of_a_library(seed: int) -> None:
    """On random maps, void in the truth alone: void in an answer takes pixels off the truth there, which the paper does not have."""
    draw = torch.Generator().manual_seed(seed)
    items = []
    for _ in range(3):
        number = int(torch.randint(5, (1,), generator=draw))
        truth = torch.randint(number + 1, (4, 4), generator=draw) - 1
        truth = truth.repeat_interleave(3, 0).repeat_interleave(3, 1)
        theirs = [2, *torch.randint(2, (number,), generator=draw).tolist()][:number]  # 2 is stuff, once
        right = (torch.rand(12, 12, generator=draw) < 0.8) & (truth != VOID)
        found = torch.where(right, truth, torch.randint(max(number, 1), (12, 12), generator=draw))
        items.append((found, theirs or [0], truth, theirs))
    counts = sum(panoptic_counts(*item, 3) for item in items)
    assert isinstance(counts, Tensor)
    torch.testing.assert_close(
        qualities(counts).nan_to_num(0).to(torch.float32), library(items, 3, 2).to(torch.float32)
    )


@pytest.mark.parametrize("case", ["all void", "one object", "nothing found", "nothing at all"])
def test_qualities_without_objects_are_those_of_a_library(case: str) -> None:
    nothing, one = torch.full((4, 4), VOID), torch.zeros(4, 4, dtype=torch.long)
    item = {
        "all void": (one, [1], nothing, []),
        "one object": (one, [1], one, [1]),
        "nothing found": (nothing, [], one, [1]),
        "nothing at all": (nothing, [], nothing, []),
    }[case]
    found = qualities(panoptic_counts(*item, 3)).nan_to_num(0)
    torch.testing.assert_close(found.to(torch.float32), library([item], 3, 2).to(torch.float32))


def test_what_is_degenerate_counts_as_the_paper_has_it() -> None:
    nothing, one = torch.full((4, 4), -1), torch.zeros(4, 4, dtype=torch.int64)
    # Nothing there and nothing said; a segment in void alone is no mistake; one that is missed; one that is made up.
    assert panoptic_counts(nothing, [], nothing, [], 2).sum() == 0
    assert panoptic_counts(one, [1], nothing, [], 2).sum() == 0
    assert panoptic_counts(nothing, [], one, [1], 2)[1].tolist() == [0, 0, 0, 1]
    other = torch.ones(4, 4, dtype=torch.int64)
    assert panoptic_counts(one, [0], other, [0, 1], 2).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert panoptic_counts(one, [1], one, [1], 2)[1].tolist() == [1, 1, 0, 0]
    # Exactly half is not matched.
    half = torch.tensor([[0, 0, 1, 1]])
    assert panoptic_counts(half, [0, 1], torch.zeros(1, 4, dtype=torch.int64), [0], 2)[0].tolist() == [
        0,
        0,
        1,
        1,
    ]
    found = qualities(torch.tensor([[1.6, 2, 1, 1], [0, 0, 2, 0], [0, 0, 0, 0]]))
    assert found[0].tolist() == pytest.approx([1.6 / 3, 0.8, 2 / 3])
    assert found[1].tolist() == [0, 0, 0]
    assert bool(found[2].isnan().all())
    assert torch.allclose(found[0, 0], found[0, 1] * found[0, 2])


def labels(*rows: list[int]) -> Tensor:
    return torch.tensor([rows])


def of(number: int, instance: int = 0) -> int:
    return number * INSTANCES + instance


def test_segments_are_read_from_labels() -> None:
    classes, masks = segments_of(labels([of(0), of(1), VOID], [of(2, 1), of(2, 1), of(1)]))
    assert classes.tolist() == [[0, 1, 2]]
    assert masks[0].tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 0]]
    several = torch.cat((labels([of(0), of(1)]), labels([of(0), crowd_of(1)]), labels([VOID, VOID])))
    classes, masks = segments_of(several)
    assert classes.tolist() == [[0, 1], [0, -1], [-1, -1]]
    assert masks[1:, 1].sum() == masks[2].sum() == 0


def test_crowds_are_segments_of_the_truth_and_void_is_none() -> None:
    places, classes, crowds = truth_of(
        torch.tensor([[of(3, 1), VOID, crowd_of(0)], [of(3), crowd_of(7), of(3, 1)]])
    )
    assert places.tolist() == [[3, VOID, 1], [2, 0, 3]]
    assert (classes, crowds) == ([7, 0, 3, 3], [True, True, False, False])
    assert truth_of(torch.full((4,), VOID))[1] == []


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_the_cheapest_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, masks = torch.randn(1, 4, 4, generator=generator), torch.randn(1, 4, 12, generator=generator)
    given = torch.tensor([of(0), of(1), of(1, 1)])[torch.randint(3, (1, 3, 4), generator=generator)]
    wanted, truth = segments_of(given)
    known = torch.ones(1, 12)
    _, query, segment = _matching(logits, masks, wanted, truth, known)

    def cost(q: int, s: int) -> float:
        x, t = masks[0, q].double(), truth[0, s].double()
        crossed = torch.nn.functional.binary_cross_entropy_with_logits(x, t)
        dice = 1 - (2 * (x.sigmoid() * t).sum() + 1) / (x.sigmoid().sum() + t.sum() + 1)
        return float(5 * crossed + 5 * dice - 2 * logits[0, q].softmax(-1)[wanted[0, s]])

    best = min(
        sum(cost(q, s) for s, q in enumerate(order)) for order in permutations(range(4), wanted.shape[1])
    )
    assert sum(cost(int(q), int(s)) for q, s in zip(query, segment, strict=True)) == pytest.approx(
        best, abs=1e-4
    )


def certain(task: ScenePanoptic, targets: Tensor, queries: int = 6) -> Tensor:
    """A prediction that says exactly what is there, in another order."""
    wanted, truth = segments_of(targets)
    count, most = wanted.shape
    scores = torch.full((count, queries, len(CLASSES) + 1), -20.0)
    scores[..., -1] = 20.0
    masks = torch.full((count, queries, truth.shape[-1]), -20.0)
    for place in range(most):
        query = queries - 1 - place
        there = wanted[:, place] >= 0
        scores[there, query, -1] = -20.0
        scores[there, query, wanted[there, place]] = 20.0
        masks[there, query] = 40.0 * truth[there, place] - 20.0
    return torch.cat((scores, masks), -1)


def test_who_knows_it_all_has_all_and_loses_nothing() -> None:
    task = made()
    batch = next(task.batches("test", 30))
    right = certain(task, batch.targets)
    found = task.scored([(right, batch)])
    assert {name: score.value for name, score in found.items()} == dict.fromkeys(
        ("pq", "sq", "rq", "pq_things", "pq_stuff"), 1.0
    )
    assert task.loss(right, batch).item() < 1e-3
    wrong = right.roll(1, 0)
    assert task.loss(wrong, batch).item() > 3.0
    assert task.scored([(wrong, batch)])["pq_things"].value < 0.1
    parts = [(right[:7], type(batch)(batch.inputs[:7], batch.targets[:7]))]
    parts += [(wrong[7:], type(batch)(batch.inputs[7:], batch.targets[7:]))]
    counts = [task.count(*part)["segments"] for part in parts]
    assert task.scored(parts)["pq"].value == task.finish({"segments": counts[0] + counts[1]})["pq"].value


def test_labels_tell_things_clutter_and_empty_space() -> None:
    task = made()
    parts = task.scenes.compose("test", "classes", "visible", "clutter", "masks", "images")
    targets = task.splits["test"].targets
    assert torch.equal((targets == of(1)), parts["clutter"])
    assert not bool((parts["clutter"] & (parts["visible"] >= 0)).any())
    for scene in range(5):
        for index in range(3):
            shown = parts["visible"][scene] == index
            if bool(shown.any()):
                expected = of(int(parts["classes"][scene, index]) + 2, index)
                assert set(targets[scene][shown].tolist()) == {expected}
    ink = parts["images"][:, 0].float()
    assert float(ink[targets == of(1)].mean()) > 2 * float(ink[targets == of(0)].mean())


def test_a_merge_keeps_what_is_sure_and_joins_stuff() -> None:
    sure, masks = torch.full((4, 13), -20.0), torch.full((4, 8), -20.0)
    for query, (name, pixels) in enumerate([(0, [0, 1]), (0, [2, 3]), (5, [4, 5]), (12, [6, 7])]):
        sure[query, name] = 20.0
        masks[query, pixels] = 20.0
    found, names = merged(sure, masks, STUFF)
    assert names == [0, 5]
    assert found.tolist() == [0, 0, 0, 0, 1, 1, -1, -1], "nothing is said where only a query of none is"
    # Of a mask of four pixels another query has two: less than four fifths are left, and it goes.
    masks[2] = torch.tensor([-20.0] * 2 + [10.0] * 4 + [-20.0] * 2)
    found, names = merged(sure, masks, STUFF)
    assert names == [0]
    assert found.tolist() == [0, 0, 0, 0, -1, -1, -1, -1]
    unsure = torch.zeros(4, 13)
    assert merged(unsure, masks, STUFF)[1] == []


def mask2former(logits: Tensor, masks: Tensor, stuff: frozenset[int]) -> tuple[list[int], list[int]]:
    """`panoptic_inference` of Mask2Former's code, pixel by pixel: each pixel's segment, -1 for none, and the segments' classes."""
    chances, shown = logits.softmax(-1).tolist(), masks.sigmoid().tolist()
    none, pixels = logits.shape[-1] - 1, range(masks.shape[-1])
    best = [max(range(none + 1), key=row.__getitem__) for row in chances]
    kept = [q for q, name in enumerate(best) if name != none and chances[q][name] > KEPT_SCORE]
    if not kept:
        return [-1] * len(pixels), []
    ids = [max(kept, key=lambda q, p=p: chances[q][best[q]] * shown[q][p]) for p in pixels]  # type: ignore[misc]
    found, names, first = [-1] * len(pixels), [], {}
    for q in kept:
        mask_area = sum(ids[p] == q for p in pixels)
        original_area = sum(shown[q][p] >= 0.5 for p in pixels)
        mask = [p for p in pixels if ids[p] == q and shown[q][p] >= 0.5]
        if not (mask_area > 0 and original_area > 0 and mask):
            continue
        if mask_area / original_area < KEPT_SHARE:
            continue
        number = first.get(best[q], len(names))
        if number == len(names):
            names.append(best[q])
        if best[q] in stuff:
            first[best[q]] = number
        for p in mask:
            found[p] = number
    return found, names


@pytest.mark.parametrize("seed", range(20))
def test_a_merge_is_mask2formers(seed: int) -> None:
    """Among random queries, which overlap, are unsure, and win pixels that are none of their masks'."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4.0 * torch.randn(8, 5, dtype=torch.float64, generator=generator)
    masks = 2.0 * torch.randn(8, 30, dtype=torch.float64, generator=generator) - 1.0
    masks[:, ::3] -= 3.0
    found, names = merged(logits, masks, frozenset({0, 1}))
    assert (found.tolist(), names) == mask2former(logits, masks, frozenset({0, 1}))


def test_what_a_query_wins_beside_its_mask_counts_for_it() -> None:
    sure = torch.full((2, 13), -20.0)
    sure[0, 5], sure[1, 6] = 20.0, 20.0
    # Two of the first's three pixels are its own; a third and a fourth it wins where no mask is.
    masks = torch.tensor([[4.0, 4.0, 1.0, -1.0, -1.0], [-9.0, -9.0, 4.0, -9.0, -9.0]])
    found, names = merged(sure, masks, STUFF)
    assert (found.tolist(), names) == ([0, 0, 1, -1, -1], [5, 6])


def test_void_moves_no_mask_and_an_image_of_void_alone_is_none() -> None:
    task = made()
    batch = next(task.batches("test", 4))
    prediction = torch.randn(4, 6, len(CLASSES) + 1 + 1024, generator=torch.Generator().manual_seed(0))
    prediction.requires_grad_()
    targets = batch.targets.clone()
    targets[:, 16:] = VOID
    targets[3] = VOID
    targets[2, 24:] = crowd_of(5)
    (gradient,) = torch.autograd.grad(panoptic_loss(prediction, targets, len(CLASSES)), prediction)
    of_masks = gradient[..., len(CLASSES) + 1 :].unflatten(-1, (32, 32))
    assert bool((of_masks[:, :, 16:] == 0).all())
    assert bool((of_masks[:3, :, :16] != 0).any())
    assert bool((of_masks[3] == 0).all())
    assert bool(gradient.isfinite().all())


def test_floors_find_no_digit_and_the_headline_says_so() -> None:
    task = made()
    empty, bright = (task.evaluate(task.floor(name), "test", CPU) for name in ("chance", "threshold"))
    assert task.metric.name == "pq_things"
    assert empty["pq_things"].value == bright["pq_things"].value == 0.0
    assert 0.2 < empty["pq_stuff"].value < 0.5  # of two kinds it finds one
    assert bright["pq"].value > empty["pq"].value
    # Who knows which pixels are empty could tell no level that parts them better.
    images, targets = task.splits["train"].inputs[:, 0], task.splits["train"].targets
    level = task._level() * task.spread + task.mean
    right = [int(((images > cut) == (targets != 0)).sum()) for cut in range(256)]
    assert right[int(level)] == max(right)


def test_connected_parts_find_digits_that_stand_alone() -> None:
    image = torch.zeros(20, 20)
    image[2:8, 2:6] = 1.0
    image[9, 7] = image[8, 6] = 1.0  # hangs on by its corners
    image[14:16, 14:17] = 1.0  # too small
    (part,) = parts_of(image, 0.5)
    assert int(part.mask.sum()) == 26
    assert part.features.shape == (SIDE * SIDE + 3,)
    assert part.features[-3:].tolist() == [8.0, 6.0, 26.0]
    assert parts_of(torch.zeros(20, 20), 0.5) == []
    alone = made(train_scenes=600, max_digits=1, clutter=0, look_alikes=0)
    crowded = made(train_scenes=600, max_digits=3)
    found = [task.evaluate(task.floor("parts"), "test", CPU)["pq_things"].value for task in (alone, crowded)]
    assert found[0] > 0.35
    assert 0.0 < found[1] < found[0]


@pytest.mark.parametrize("name", [n for n in catalog.names("mechanisms") if n != "ssa"])
def test_queries_hear_all_patches_and_masks_are_of_their_pixels(name: str) -> None:
    found = catalog.load("mechanisms", name)
    config = QueriesConfig(width=16, heads=2, layers=2, patch=4, queries=3)
    model = (
        Queries(config, ImageInputs(1, 8, 12, 4), found, found.Config(), hidden=None, seed=0).double().eval()
    )
    images = torch.randn(2, 1, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = model(images).prediction
    assert before.shape == (2, 3, 5 + 96)
    images[0, :, 4:, 8:] += 1.0
    moved = (model(images).prediction - before).abs()
    assert bool((moved[0, :, :5].amax(-1) > 0).all())
    assert bool((moved[1] == 0).all())


def test_flops_of_queries_are_those_that_run() -> None:
    found = catalog.load("mechanisms", "softmax")
    model = Queries(
        QueriesConfig(width=16, heads=2, layers=2),
        ImageInputs(1, 8, 12, 4),
        found,
        found.Config(),
        hidden=None,
        seed=0,
    )
    with flop_counter() as counter, torch.no_grad():
        model(torch.zeros(1, 1, 8, 12))
    assert counter.get_total_flops() == model.flops()


def test_the_first_answers_are_kept_with_their_segments() -> None:
    """What answers the truth is kept as the truth is; void has a class of its own."""

    class Always(torch.nn.Module):
        """The first scene's truth, whatever it sees."""

        def forward(self, images: Tensor) -> Output:
            return Output(certain(task, task.splits["test"].targets[:1].long()).expand(len(images), -1, -1))

    task, model = made(), Always()
    found = task.evaluate(model, "test", CPU)["pq"].details["examples"]
    assert found["shape"] == [4, 1, 32, 32]
    maps = {
        name: np.frombuffer(zlib.decompress(base64.b64decode(found[name])), np.uint8).reshape(4, 32, 32)
        for name in ("truth", "answers", "truth_segments", "answers_segments")
    }
    labels = task.splits["test"].targets[:4].numpy().astype(int)
    assert (maps["truth"] == labels // INSTANCES).all()
    assert (maps["answers"] == maps["answers"][0]).all(), "the same is answered to every image"
    answer = maps["answers"][0]
    known = answer != UNKNOWN
    assert known.mean() > 0.9
    assert (answer == maps["truth"][0])[known].all()
    parts = maps["answers_segments"][0]
    assert ((parts == 0) == ~known).all()
    assert len(np.unique(parts[known])) == len(np.unique(labels[0]))
    assert "examples" not in task.evaluate(model, "validation", CPU)["pq"].details
