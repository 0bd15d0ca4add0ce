"""The README beside the ops: its examples run, and its table names every backend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from oscbench import ops

README = Path(ops.__file__).with_name("README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", EXAMPLES, ids=[str(index) for index in range(len(EXAMPLES))])
def test_examples_run(code, capsys):
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    for name in ("out", "tangent", "cos", "sin"):
        if isinstance(names.get(name), torch.Tensor):
            assert names[name].isfinite().all()


@pytest.mark.parametrize("name", ops.op_names())
def test_every_op_has_an_example_and_every_backend_a_row(name):
    assert any(f"{name}(" in code for code in EXAMPLES)
    for backend in ops.why_not(name, "cpu"):
        assert f"| `{backend}` |" in README
