"""How Triton kernels read and write a block of tokens' vectors."""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl


@triton.jit
def take(base, tokens, N, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr):
    """Tokens' vectors (tokens, BLOCK) as DOT, 0 past the last token and the last channel."""
    columns = tl.arange(0, BLOCK)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    return tl.load(base + tokens[:, None].to(tl.int64) * WIDTH + columns[None, :], mask=inside, other=0.0).to(
        DOT
    )


@triton.jit
def keep(base, tile, tokens, N, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Write tokens' vectors, but nothing past the last token and the last channel."""
    columns = tl.arange(0, BLOCK)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    tl.store(base + tokens[:, None].to(tl.int64) * WIDTH + columns[None, :], tile, mask=inside)
