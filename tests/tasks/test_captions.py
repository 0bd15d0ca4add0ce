"""Captions: words say what is in the image, no two of a batch mean the same, and text alone cannot tell a caption from its exchange."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from oscbench import catalog
from oscbench.models.backbones.dual import Dual, DualConfig
from oscbench.models.matching import match, num_parameters
from oscbench.models.trunk import Output
from oscbench.ops.flops import flop_counter
from oscbench.runner.plan import make_plan
from oscbench.suite import SuiteError, load_suite
from oscbench.tasks import Batch
from oscbench.tasks.captions import Captions, CaptionsConfig, held_out
from oscbench.tasks.digits import digit_splits
from oscbench.tasks.support.scenes.side_by_side import _apart, compose
from oscbench.tasks.support.text.caption_grammar import PAIRS, Grammar

GRAMMAR = Grammar()
CAPTIONS, NUM_MEANINGS, IDS = GRAMMAR.captions, GRAMMAR.num_meanings, GRAMMAR.ids
caption, exchanged, said = GRAMMAR.caption, GRAMMAR.exchanged, GRAMMAR.said

SMALL = {
    "images_per_meaning": 2,
    "validation_images": 1,
    "test_images": 1,
    "single_digits": 20,
    "held_out_pairs": 5,
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSCBENCH_DATA", str(tmp_path_factory.mktemp("store")))
        yield


def made(**settings: Any) -> Captions:
    return Captions(CaptionsConfig.model_validate({**SMALL, **settings}))


def dual(task: Captions, name: str = "softmax", **model: Any) -> Dual:
    found = catalog.load("mechanisms", name)
    config = DualConfig(
        **{"width": 16, "heads": 2, "layers": 2, "patch": 8, "text_width": 16, "text_heads": 2, **model}
    )
    return Dual(config, task.inputs, found, found.Config(), hidden=None, seed=0)


def generators(seed: int = 0) -> tuple[torch.Generator, torch.Generator]:
    first, second = (torch.Generator().manual_seed(seed + k) for k in range(2))
    return first, second


def test_words_say_where_digits_are_from_either_side() -> None:
    three_seven = PAIRS.index((3, 7))
    assert " ".join(caption(three_seven, 0)) == "a three above a seven"
    assert " ".join(caption(three_seven, 1)) == "a seven below a three"
    assert " ".join(caption(90 + three_seven, 0)) == "a three left of a seven"
    assert " ".join(caption(90 + three_seven, 1)) == "a seven right of a three"
    words = [GRAMMAR.vocabulary[token] for token in CAPTIONS[0, three_seven].tolist()]
    assert words == ["a", "three", "above", "a", "seven", "<pad>"]
    assert len({tuple(ids) for way in CAPTIONS.tolist() for ids in way}) == 2 * NUM_MEANINGS


def test_exchanging_twice_changes_nothing_and_once_every_meaning() -> None:
    every = torch.arange(NUM_MEANINGS)
    assert (exchanged(every) != every).all()
    assert torch.equal(exchanged(exchanged(every)), every)
    assert caption(int(exchanged(torch.tensor(PAIRS.index((3, 7))))), 0) == caption(PAIRS.index((7, 3)), 0)


def test_digits_stand_where_the_caption_says() -> None:
    config, scans = CaptionsConfig(noise=0.0), digit_splits()["test"]
    meanings = torch.arange(NUM_MEANINGS)
    images = compose(scans, meanings, config, torch.Generator().manual_seed(0)).float() - 16
    cells = images.unflatten(2, (2, 16)).unflatten(1, (2, 16)).amax((2, 4)) > 60  # (n, row, column)
    assert (cells.flatten(1).sum(1) == 2).all()
    vertical = meanings < 90
    assert cells[vertical].any(2).all()  # both rows
    assert (cells[vertical].any(1).sum(1) == 1).all()  # one column
    assert cells[~vertical].any(1).all()
    assert (cells[~vertical].any(2).sum(1) == 1).all()


def test_the_first_digit_is_the_upper_or_the_left_one() -> None:
    """With scans that are flat squares as bright as their digit."""
    scans = Batch(
        ((1 + torch.arange(10.0)) / 10)[:, None, None, None].expand(-1, 1, 8, 8).contiguous(),
        torch.arange(10),
    )
    images = compose(
        scans, torch.arange(NUM_MEANINGS), CaptionsConfig(noise=0.0), torch.Generator().manual_seed(0)
    )
    cells_of = ((images.float() - 16) / 208).unflatten(2, (2, 16)).unflatten(1, (2, 16))
    brightness = cells_of[:, :, 4:12, :, 4:12].amax((2, 4))  # the middle of a cell, which every digit covers
    for meaning, cells in enumerate(brightness):
        lit = [round(float(value) * 10) - 1 for value in cells.flatten() if value > 0.05]
        assert tuple(lit) == PAIRS[meaning % 90]


def test_no_two_of_a_batch_mean_the_same_and_held_out_pairs_never_train() -> None:
    task = made()
    held = set(held_out(5).tolist())
    seen: set[int] = set()
    batches = list(task.training_batches(48, *generators()))
    assert len(batches) == 2 * (160 // 48)
    for batch in batches:
        assert len(batch.targets.unique()) == 48
        seen |= set(batch.targets.tolist())
        assert not {meaning % 90 for meaning in batch.targets.tolist()} & held
    assert len(seen) > 120
    assert {int(m) % 90 for m in task.splits["test"].targets} >= held
    with pytest.raises(ValueError, match=r"train\.batch_size: 161 pairs of different meaning, there are 160"):
        next(iter(task.training_batches(161, *generators())))
    assert Captions.largest_batch(task.config) == 160


def test_a_plan_refuses_batches_of_more_meanings_than_there_are() -> None:
    with pytest.raises(SuiteError, match=r"train\.batch_size: got 161; this task allows at most 160"):
        make_plan(load_suite("captions", ["train.batch_size=161"]), only=[], device="cpu")


def test_captions_of_a_batch_are_those_of_its_images() -> None:
    task = made()
    batch = next(task.training_batches(48, *generators()))
    _, ids = batch.inputs.split((task.inputs.pixels, 6), dim=1)
    ways = (ids.long()[:, None] == CAPTIONS[:, batch.targets].transpose(0, 1)).all(-1)
    assert (ways.sum(1) == 1).all()
    assert ways.any(0).all()


class Sees(torch.nn.Module):
    """Embeds images by their true meaning where it may see, captions by what they say; `binds` tells which digit is where."""

    def __init__(self, task: Captions, binds: bool) -> None:
        super().__init__()
        self.task, self.binds = task, binds
        self.known = {}
        for stored in task.splits.values():
            packed = task._packed(
                stored.inputs, stored.targets, torch.zeros(len(stored.targets), dtype=torch.long)
            )
            for row, meaning in zip(
                packed.inputs[:, : task.inputs.pixels], stored.targets.tolist(), strict=True
            ):
                self.known[row.numpy().tobytes()] = meaning
        self.words = {tuple(ids): m for way in task.grammar.captions.tolist() for m, ids in enumerate(way)}

    def code(self, meanings: Tensor) -> Tensor:
        count = self.task.grammar.num_meanings
        full = one_hot(meanings, count).float()
        return full if self.binds else full + one_hot(self.task.grammar.exchanged(meanings), count)

    def captions(self, ids: Tensor) -> Tensor:
        if tuple(ids[0].tolist()) not in self.words:  # prompts of single digits
            return torch.zeros(len(ids), self.task.grammar.num_meanings)
        return normalize(self.code(torch.tensor([self.words[tuple(row)] for row in ids.tolist()])), dim=-1)

    def forward(self, inputs: Tensor) -> Output:
        rows = inputs[:, : self.task.inputs.pixels].numpy()
        meanings = torch.tensor([self.known.get(row.tobytes(), 0) for row in rows])
        return Output(normalize(self.code(meanings), dim=-1)[:, None].expand(-1, 2, -1), [])


def test_scores_tell_binding_from_knowing_what_is_there() -> None:
    task = made()
    binds, bag = (task.evaluate(Sees(task, binds), "test", CPU) for binds in (True, False))
    for key in (
        "accuracy",
        "accuracy_held_out_pairs",
        "accuracy_top_1",
        "accuracy_pair",
        "accuracy_axis",
        "accuracy_text_to_image",
    ):
        assert binds[key].value == 1.0, key
    assert bag["accuracy"].value == 0.5
    assert bag["accuracy_pair"].value == bag["accuracy_axis"].value == 1.0
    assert bag["accuracy_top_1"].value == pytest.approx(0.5, abs=0.01)
    labels = {key: task.metric_named(key).label for key in binds}
    assert len(set(labels.values())) == len(labels)
    assert labels["accuracy"] == task.metric.label
    assert labels["accuracy_pair_held_out_pairs"] == (
        "test accuracy of the nearest caption's digits, in any order, of digits never together in training"
    )
    assert binds["accuracy_text_alone"].value == bag["accuracy_text_alone"].value == 0.5
    assert (binds["accuracy"].count, binds["accuracy_held_out_pairs"].count) == (160, 20)
    assert set(task.evaluate(Sees(task, True), "validation", CPU)) == {"accuracy"}


def test_text_alone_is_at_chance_whatever_the_model() -> None:
    """Every meaning and its exchange are tested as often, so what text prefers cancels."""
    task = made()
    found = task.evaluate(dual(task), "test", CPU)
    assert found["accuracy_text_alone"].value == pytest.approx(0.5)
    assert found["accuracy_single_digits"].count == 20


def test_loss_takes_no_pair_of_equal_meaning_as_a_negative() -> None:
    task = made()
    batch = next(task.batches("validation", 4))
    embeddings = normalize(torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    plain = task.loss(embeddings, batch)
    logits = embeddings[:, 0] @ embeddings[:, 1].T
    own = torch.arange(4)
    cross = torch.nn.functional.cross_entropy
    assert plain.item() == pytest.approx(((cross(logits, own) + cross(logits.T, own)) / 2).item())
    batch.targets[1] = batch.targets[0]
    logits[0, 1] = logits[1, 0] = float("-inf")
    assert task.loss(embeddings, batch).item() == pytest.approx(
        ((cross(logits, own) + cross(logits.T, own)) / 2).item()
    )
    assert task.loss(embeddings, batch).isfinite()


def test_text_tower_starts_equal_in_all_and_is_not_matched() -> None:
    task = made()
    softmax, kope = dual(task), dual(task, "kope", embedding_spread=2.0)
    text = [name for name, _ in softmax.named_parameters() if name.startswith(("text", "words", "places"))]
    assert len(text) > 20
    own = dict(kope.named_parameters())
    for name, parameter in softmax.named_parameters():
        if name in text:
            assert torch.equal(parameter, own[name]), name

    def builder(name: str) -> Any:
        found = catalog.load("mechanisms", name)
        config = DualConfig(width=32, heads=2, layers=2, patch=8)
        return lambda hidden: Dual(config, task.inputs, found, found.Config(), hidden=hidden, seed=0)

    matched = match("params", builder("kope"), builder("softmax"))
    model = builder("kope")(matched.hidden)
    assert num_parameters(model) == matched.value
    assert model.text.hidden == builder("softmax")(None).text.hidden


def test_flops_are_those_that_a_counter_sees() -> None:
    task = made()
    model = dual(task)
    with flop_counter() as counter, torch.no_grad():
        model(next(task.batches("validation", 1)).inputs)
    assert counter.get_total_flops() == model.flops()


def test_padding_changes_no_caption() -> None:
    model = dual(made()).eval()
    ids = CAPTIONS[0, :3]  # five words and one of padding
    assert torch.allclose(model.captions(ids), model.captions(ids[:, :5]), atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "kope", "akorn"])
def test_a_model_learns_which_caption_is_whose(name: str) -> None:
    task = made()
    model = dual(task, name)
    batch = next(task.training_batches(32, *generators()))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = task.loss(model(batch.inputs).prediction, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert model.scale() <= 100


def test_data_are_fixed_and_settings_that_fit_nothing_are_refused() -> None:
    assert made().data_hash() == made().data_hash() != made(noise=0.1).data_hash()
    with pytest.raises(ValidationError, match="must rise, up to a cell of 16 pixels"):
        CaptionsConfig(max_scale=17)
    with pytest.raises(ValidationError, match="must rise"):
        CaptionsConfig(min_scale=14, max_scale=13)


def test_floors_bind_nothing() -> None:
    task = made(images_per_meaning=8, test_images=2)
    blind, bag = (task.evaluate(task.floor(name), "test", CPU) for name in ("chance", "bag"))
    assert blind["accuracy"].value == blind["accuracy_text_alone"].value == 0.5
    assert blind["accuracy_top_1"].value == pytest.approx(1 / 160)
    assert blind["accuracy_single_digits"].value == pytest.approx(0.1)
    assert bag["accuracy"].value == pytest.approx(0.5, abs=0.1), (
        "how much ink there is says nothing of who is above"
    )
    assert 0 < bag["accuracy_top_1"].value < 0.1
    assert bag["accuracy_single_digits"].count == 20


def test_a_caption_fits_its_meaning_and_a_digit_all_that_have_it() -> None:
    for way in CAPTIONS:
        assert torch.equal(said(way), torch.eye(NUM_MEANINGS))
    (three,) = said(torch.tensor([[IDS["a"], IDS["three"], 0, 0, 0, 0]]))
    fits = [meaning for meaning in range(NUM_MEANINGS) if 3 in PAIRS[meaning % 90]]
    assert three.nonzero().flatten().tolist() == fits
    assert three.sum() == pytest.approx(1.0)


def test_a_draw_of_its_own_has_other_images_of_training_and_the_same_test() -> None:
    fixed = made().tensors()
    each = CaptionsConfig.model_validate({**SMALL, "draw": "per_seed"})
    one, other = (Captions.for_seed(each, seed).tensors() for seed in (1, 2))
    assert fixed.keys() == one.keys()
    for name in fixed:
        differs = name in ("train.inputs", "validation.inputs")
        assert torch.equal(one[name], other[name]) != differs
        assert torch.equal(one[name], fixed[name]) != differs
    assert all(torch.equal(x, Captions.for_seed(each, 0).tensors()[name]) for name, x in fixed.items())


def test_free_places_are_true_of_one_meaning_alone() -> None:
    """Wholly apart along the meaning's axis, in an order that says it, and side by side across; every part of the image is reached."""
    meanings = torch.arange(NUM_MEANINGS).repeat(40)
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(12, 17, (len(meanings), 2), generator=generator)
    corners = _apart(sides, meanings, 32, generator)
    ends = corners + sides[..., None]
    assert int(corners.min()) == 0
    assert int(ends.max()) == 32
    axis = (meanings >= len(PAIRS)).long()  # rows for above, columns for left of
    first_end = ends[:, 0].gather(1, axis[:, None])
    second = corners[:, 1].gather(1, axis[:, None])
    assert bool((first_end <= second).all())
    across = 1 - axis[:, None]
    shared = torch.minimum(ends[:, 0].gather(1, across), ends[:, 1].gather(1, across)) - torch.maximum(
        corners[:, 0].gather(1, across), corners[:, 1].gather(1, across)
    )
    assert int(shared.min()) == 1
    assert len(corners[:, 0].unique(dim=0)) > 100


def test_free_places_make_other_images_and_cells_stay() -> None:
    cells, free = made(), made(places="free")
    pixels = cells.splits["test"].inputs.numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:12] == "73e38ba8e560", "of every record until now"
    assert not torch.equal(free.splits["test"].inputs, cells.splits["test"].inputs)
    assert free.alone.inputs.shape == cells.alone.inputs.shape
    middle = free.alone.inputs[:, 8:24, 8:24].float().mean() / free.alone.inputs.float().mean()
    assert float(middle) > 1.1, "a single digit may stand in the middle, which cells never let it"
    with pytest.raises(ValidationError, match="places"):
        made(places="anywhere")


def test_sizes_are_said_and_drawn_as_said() -> None:
    grammar = Grammar(sizes=True)
    assert grammar.num_meanings == 720
    three_seven = PAIRS.index((3, 7))
    big_small = 2 * 180 + three_seven
    assert " ".join(grammar.caption(big_small, 0)) == "a big three above a small seven"
    assert " ".join(grammar.caption(big_small + 90, 1)) == "a small seven right of a big three"
    every = torch.arange(720)
    assert len({tuple(ids) for way in grammar.captions.tolist() for ids in way}) == 2 * 720
    assert grammar.caption(int(grammar.exchanged(every)[big_small]), 0)[:3] == ["a", "big", "seven"]
    assert grammar.caption(int(grammar.resized(every)[big_small]), 0)[:3] == ["a", "small", "three"]
    assert ((grammar.resized(every) != every).sum(), (grammar.exchanged(every) != every).sum()) == (360, 720)
    assert torch.equal(grammar.resized(grammar.resized(every)), every)
    assert torch.equal(GRAMMAR.resized(torch.arange(180)), torch.arange(180))
    for way in grammar.captions:
        assert torch.equal(grammar.said(way), torch.eye(720))
    (small_three,) = grammar.said(torch.tensor([grammar.filled(["a", "small", "three"])]))
    for meaning in range(720):
        words = " ".join(grammar.caption(meaning, 0))
        assert (small_three[meaning] > 0) == ("small three" in words)
    config = CaptionsConfig(noise=0.0, sizes=True, min_scale=8)
    squares = Batch(torch.ones(10, 1, 8, 8), torch.arange(10))
    ink = compose(squares, every, config, torch.Generator().manual_seed(0)).float() - 16
    cells = ink.unflatten(2, (2, 16)).unflatten(1, (2, 16)).transpose(2, 3).flatten(1, 2)  # (n, cell, 16, 16)
    rows = (cells > 100).any(3).sum(2)  # the side of what stands in each cell
    sides = torch.stack([one[one > 0] for one in rows])
    big = grammar.big(every)
    assert (sides[~big].min(), sides[~big].max()) == (8, 10)
    assert (sides[big].min(), sides[big].max()) == (14, 16)


def test_scores_tell_sizes_from_digits() -> None:
    task = made(sizes=True, images_per_meaning=1, min_scale=8)
    assert (task.inputs.vocabulary, task.inputs.words) == (19, 8)
    assert Captions.largest_batch(task.config) == 640
    found = task.evaluate(Sees(task, binds=True), "test", CPU)
    assert found["accuracy"].value == found["accuracy_sizes"].value == found["accuracy_top_1"].value == 1.0
    assert (found["accuracy"].count, found["accuracy_sizes"].count) == (640, 320)
    untrained = task.evaluate(dual(task), "test", CPU)
    assert untrained["accuracy_text_alone"].value == pytest.approx(0.5)
    assert untrained["accuracy_single_digits"].count == 20
    blind = task.evaluate(task.floor("chance"), "test", CPU)
    assert blind["accuracy_sizes"].value == blind["accuracy"].value == 0.5
    with pytest.raises(ValidationError, match="two pixels between them"):
        made(sizes=True, min_scale=12, max_scale=13)
