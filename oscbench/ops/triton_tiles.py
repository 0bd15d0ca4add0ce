"""Which block of tokens a program of a Triton kernel has, and how it reads and writes their vectors."""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl


@triton.jit
def place(N, BLOCK_M: tl.constexpr, LAST_FIRST: tl.constexpr):
    """A program's head and its block of that head's tokens, in a grid of `triton_tools.grid`.

    Causal kernels take a head's longest rows first, which are the last, so that the last programs to start are short.
    """
    block = tl.num_programs(0) - 1 - tl.program_id(0) if LAST_FIRST else tl.program_id(0)
    return (tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)).to(tl.int64), block


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
