"""How large an encoder of texts and its sub-models are. No torch: a config is checked by it before it is built."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trainers.lattice import Lattice
from trainers.submodel import SubModel

DEPTH, HIDDEN, HEADS, NEURONS = "depth", "hidden", "heads", "neurons"
_SIZES = {
    DEPTH: "num_hidden_layers",
    HIDDEN: "hidden_size",
    HEADS: "num_attention_heads",
    NEURONS: "intermediate_size",
}
"""What a configuration calls the dimensions of an encoder."""
Kept = Literal["first", "spaced"]
"""Which layers a depth keeps."""


@dataclass(frozen=True)
class EncoderSize:
    """What a sub-model of an encoder has of every dimension."""

    depth: int
    hidden: int
    heads: int
    neurons: int

    @classmethod
    def whole(cls, config: Mapping[str, Any]) -> "EncoderSize":
        """Of a model, by its configuration."""
        return cls(**{name: config[said] for name, said in _SIZES.items()})

    def of(self, sub_model: SubModel) -> "EncoderSize":
        """What a sub-model of a model of this size has; of what it does not name, all.

        Of heads that it does not name, as many as its hidden size has room for.
        """
        named = {name: int(sub_model[name]) for name in _SIZES if name in sub_model}
        room = named.get(HIDDEN, self.hidden) * self.heads // self.hidden
        return replace(self, **{HEADS: room} | named)

    def in_config(self, head_size: int) -> dict[str, int]:
        """What the configuration of a model of this size says, with as many heads as its hidden size has room for."""
        return {_SIZES[name]: size for name, size in asdict(replace(self, heads=self.hidden // head_size)).items()}

    def macs(self, head_size: int, tokens: int) -> int:
        """Multiply-accumulates of matrix products for a text of `tokens` tokens, the pooler included."""
        inner = self.heads * head_size
        projections = 4 * self.hidden * inner * tokens
        attention = 2 * inner * tokens * tokens
        feed_forward = 2 * self.hidden * self.neurons * tokens
        return self.depth * (projections + attention + feed_forward) + self.hidden * self.hidden

    def flops(self, head_size: int, tokens: int) -> int:
        """Two for each multiply-accumulate, five for each element of a LayerNorm, one for each of a softmax.

        The paper does not say how it counts. So counted, BERT-base and BERT-large at 128 tokens take the 22.36 G and
        78.96 G of its Table 2.
        """
        norms = (2 * self.depth + 1) * self.hidden * tokens
        softmax = self.depth * self.heads * tokens * tokens
        return 2 * self.macs(head_size, tokens) + 5 * norms + softmax


def check_lattice(lattice: Lattice, full: EncoderSize) -> None:
    """Refuses sub-models that an encoder of this size does not have, or that no configuration can say.

    Raises:
        ValueError: naming the dimension.
    """
    head_size = full.hidden // full.heads
    if unknown := sorted(set(lattice.largest.dimensions) - _SIZES.keys()):
        raise ValueError(f"an encoder has no dimension {unknown[0]!r}: give {', '.join(_SIZES)}")
    for target in lattice:
        for name, value in target.dims:
            most = getattr(full, name)
            if not isinstance(value, int) or value > most:
                raise ValueError(f"{name}={value!r}: give a whole number from 1 to the model's {most}")
        size = full.of(target)
        hidden, heads = size.hidden, size.heads
        if hidden % head_size:
            raise ValueError(f"hidden={hidden}: no multiple of the model's head size, {head_size}")
        if heads * head_size > hidden:
            raise ValueError(
                f"heads={heads} of size {head_size} need a hidden size of {heads * head_size}, more than {hidden}, "
                "which no configuration of a smaller model can say"
            )
    for name, value in lattice.largest.dims:
        if value != getattr(full, name):
            raise ValueError(f"{name}: the model's own, {getattr(full, name)}, must be among them")
