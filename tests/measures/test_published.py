"""The papers' own integers come out of our closed forms and our models, exactly."""

from __future__ import annotations

import pytest
import torch

from oscbench import catalog
from oscbench.analysis.published.numbers import Published, PublishedError, read_published
from oscbench.mechanisms import Shape
from oscbench.models.matching import num_parameters
from oscbench.models.trunk import Trunk
from oscbench.ops.fixed_query.cost import fixed_query_stage
from oscbench.ops.operations import softmax_stage
from oscbench.tasks import ImageInputs

STAGE = "operation accounting (attention stage)"
LAYER = "operation accounting (all-digital layer)"
IMPLEMENTATIONS = {
    "oscillator, all digital": "digital",
    "oscillator, equilibration physical": "hybrid",
    "oscillator, equilibration and readout physical": "physical",
}


def named(entry: Published) -> str:
    return f"{entry.mechanism}-{entry.dataset}-{entry.config.get('implementation', 'layer')}"


def mechanism_of(name: str, width: int, heads: int, layers: int, tokens: int, **settings):
    found = catalog.load("mechanisms", name)
    return found(found.Config(**settings), Shape(width, heads, layers, tokens, 1, torch.Generator()))


def test_every_entry_is_read_with_its_source():
    entries = read_published()
    assert len(entries) == 316
    elsewhere = {entry.source.paper for entry in entries if not entry.source.paper.startswith("arXiv")}
    assert elsewhere == {"nanoGPT (github.com/karpathy/nanoGPT)"}
    assert len(read_published(task=STAGE)) == 8
    assert len(read_published(task=LAYER)) == 4


@pytest.mark.parametrize("entry", read_published(task=STAGE), ids=named)
def test_attention_stage(entry):
    config = entry.config
    if entry.mechanism == "softmax":
        counted = softmax_stage(config["n_heads"], config["T"])
    else:
        implementation = IMPLEMENTATIONS[config["implementation"]]
        coupling = config["coupling"].lower()
        counted = fixed_query_stage(config["n_heads"], config["T"], config["d_osc"], coupling, implementation)
    assert counted.equivalents({"exponentials": config["exp_weight"]}) == entry.value


@pytest.mark.parametrize("entry", read_published(task=LAYER), ids=named)
def test_all_digital_layer(entry):
    config = entry.config
    name = entry.mechanism.replace("-", "_")
    settings = {"d_osc": config["d_osc"]} if name == "fixed_query" else {}
    layer = mechanism_of(name, config["d_model"], config["n_heads"], 1, config["T"], **settings)
    counted = layer.implementations(config["T"]).get("digital", layer.operations(config["T"]))
    assert counted.multiply_adds == entry.value
    assert counted.exponentials == config["exp"]
    assert counted.reductions == config["reductions"]
    assert counted.divisions == config["divisions"]
    if name == "fixed_query":
        stage = fixed_query_stage(config["n_heads"], config["T"], config["d_osc"], "softplus", "digital")
        assert stage.multiply_adds == config["fixed_point_MACs"] + config["readout_MACs"]


def test_with_softplus_the_physical_stage_costs_what_softmax_does():
    assert fixed_query_stage(2, 49, 2, "softplus", "physical") == softmax_stage(2, 49)


@pytest.mark.parametrize("name", ["softmax", "ssa"])
def test_parameters_of_the_osn_block(name):
    entry = read_published(metric="parameters")[0]
    published = entry.value if name == "ssa" else entry.baseline["value"]
    config = entry.config
    with torch.device("meta"):
        mechanism = mechanism_of(name, config["d_model"], config["n_heads"], 1, 16)
        trunk = Trunk(mechanism, hidden=config["d_ff"])
    # A block has its two norms; the trunk's last one stands after all blocks.
    assert num_parameters(trunk) - num_parameters(trunk.final_norm) == published


@pytest.mark.parametrize(("layers", "exact"), [(4, 28_994_596), (8, 41_604_168), (12, 54_213_740)])
def test_parameters_of_the_osn_models(layers, exact):
    entry = next(
        entry
        for entry in read_published(mechanism="SSA", metric="parameters_millions")
        if entry.config["model"] == f"OSN-{layers}L"
    )
    config = entry.config
    with torch.device("meta"):
        mechanism = mechanism_of("ssa", config["d_model"], config["n_heads"], layers, 16)
        trunk = Trunk(mechanism, hidden=4 * config["d_model"])
    # Embedding and read-out are one table; top-k has no parameters.
    total = num_parameters(trunk) + config["vocab"] * config["d_model"]
    assert total == exact
    assert round(total / 1e6, 1) == entry.value


def test_parameters_of_vit_kope_base():
    entry = read_published(mechanism="KoPE", metric="parameters_millions")[0]
    backbone_class, kope = catalog.load("backbones", "vision"), catalog.load("mechanisms", "kope")
    sizes = {"width": 768, "heads": 12, "layers": 12, "patch": entry.config["patch"]}
    inputs = ImageInputs(3, entry.config["resolution"], entry.config["resolution"], 1000)
    with torch.device("meta"):
        model = backbone_class(
            backbone_class.Config(**sizes), inputs, kope, kope.Config(), hidden=None, seed=0
        )
    # The paper counts the backbone alone, without a classifier.
    total = num_parameters(model) - num_parameters(model.head)
    mechanism = model.trunk.mechanism
    assert total == 87_128_064
    assert num_parameters(mechanism.couplings) == 1_181_952
    assert mechanism.mixing.numel() == 147_456
    assert round(total / 1e6) == entry.value


def test_a_file_that_is_none_is_told(tmp_path):
    broken = tmp_path / "published.json"
    broken.write_text('[{"mechanism": "x"}]')
    with pytest.raises(PublishedError, match="Field required"):
        read_published(broken)
