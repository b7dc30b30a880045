"""The sizes of proxy models by name. A name is the number of parameters without embeddings: how large a vocabulary is, is another choice.

| name | width | layers | inner | heads | without embeddings | with a tied head of 32,768 tokens | tokens a step |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 2M | 192 | 4 | 576 | 3 | 1,919,168 | 8,210,624 | 8,192 |
| 5M | 256 | 6 | 704 | 4 | 4,820,992 | 13,209,600 | 16,384 |
| 20M | 512 | 6 | 1,408 | 8 | 19,275,008 | 36,052,224 | 32,768 |
| 60M | 640 | 12 | 1,728 | 10 | 59,491,456 | 80,462,976 | 65,536 |
| 150M | 1,024 | 12 | 2,752 | 8 | 151,810,048 | 185,364,480 | 262,144 |
| 400M | 1,536 | 14 | 4,096 | 12 | 396,409,856 | 446,741,504 | 524,288 |

Any other is `WIDTHxLAYERS`, such as `128x4`. Few wide layers rather than many narrow ones: matrix products are then large enough to be
fast. Heads are 64 wide, from 150M on 128, which suits GPUs. A token that another one sees costs work that is no parameter's: `flops`
counts it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from curate.errors import PipelineError


@dataclass(frozen=True)
class Shape:
    """The measures of a network."""

    width: int
    layers: int
    inner: int
    heads: int

    @property
    def head(self) -> int:
        """The width of a head."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """How many parameters there are without embeddings."""
        layer = 4 * self.width**2 + 3 * self.width * self.inner + 2 * self.width + 2 * self.head
        return self.layers * layer + self.width

    def total(self, vocabulary: int, tied: bool) -> int:
        """Return how many parameters there are in all."""
        return self.parameters + (1 if tied else 2) * vocabulary * self.width

    def flops(self, tokens: int, vocabulary: int, context: float) -> float:
        """Return the operations of training on tokens that see `context` others on average, as MFU counts them.

        Two for each parameter forth and four back, those of embeddings once; as many for each number of a key and a value that is seen.
        """
        return 6.0 * tokens * (self.parameters + vocabulary * self.width + 2 * self.layers * self.width * context)


SHAPES = {
    "2M": Shape(192, 4, 576, 3),
    "5M": Shape(256, 6, 704, 4),
    "20M": Shape(512, 6, 1408, 8),
    "60M": Shape(640, 12, 1728, 10),
    "150M": Shape(1024, 12, 2752, 8),
    "400M": Shape(1536, 14, 4096, 12),
}
BATCH_TOKENS = {"2M": 8192, "5M": 16384, "20M": 32768, "60M": 65536, "150M": 262144, "400M": 524288}
OTHER_BATCH_TOKENS = 8192
OTHER = re.compile(r"(\d+)x(\d+)")
HEADS = (64, 32)  # how wide heads of other sizes are: the first that divides the width
ALIGNED = 64  # to which inner widths are rounded up


def shape(name: str) -> Shape:
    """Return the shape of a size, by name or as `WIDTHxLAYERS`; raise `PipelineError` when there is none of this name."""
    if name in SHAPES:
        return SHAPES[name]
    if (found := OTHER.fullmatch(name)) and min(width := int(found[1]), layers := int(found[2])) > 0 and width % HEADS[-1] == 0:
        return Shape(width, layers, -(-width * 8 // (3 * ALIGNED)) * ALIGNED, width // next(head for head in HEADS if width % head == 0))
    raise PipelineError(f"no size `{name}`", f"sizes are: {', '.join(SHAPES)}, and WIDTHxLAYERS, whose width is a multiple of {HEADS[-1]}")


def batch_tokens(name: str) -> int:
    """Return how many tokens a step of a size has."""
    return BATCH_TOKENS.get(name, OTHER_BATCH_TOKENS)
