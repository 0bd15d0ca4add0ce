"""oscbench: oscillator attentions against softmax and RoPE, measured fairly."""

__version__ = "0.1.0"
