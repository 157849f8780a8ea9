"""What a network could be nested in, said before anything is trained."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from trainers.lattice import Lattice
from trainers.measuring.cost import Cost, MacCounter, costs_of
from trainers.nested.depth import DEPTH, interleaved
from trainers.nested.dimensions import Stage
from trainers.nested.exchange import nest
from trainers.nested.table import WIDTH, Exchanges
from trainers.nested.tracing.any_width import at_any_width
from trainers.nested.tracing.channels import Source, map_channels
from trainers.nested.tracing.structure import find_blocks, find_stages
from trainers.submodel import SubModel

_NAMED = 3  # blocks of a stage, in a line


@dataclass(frozen=True)
class Description:
    """A network's parts, as `nest` wants to be told of them.

    Attributes:
        kind: the network's class.
        layers: what gives channels, in the order in which it runs.
        heads: paths of the layers whose outputs are the network's.
        stages: with a width and, where they have residual blocks, a depth of their own.
        optional: paths of all residual blocks whose output is as their input, in the order in which one depth of the
            whole network adds them: the first of every stage, then the second.
        costs: of sub-models, smallest first.
    """

    kind: str
    layers: tuple[Source, ...]
    heads: frozenset[str]
    stages: tuple[Stage, ...]
    optional: tuple[str, ...]
    costs: Mapping[SubModel, Cost]

    def __str__(self) -> str:
        """A line for each stage, one for what a lattice may name, and one for each sub-model that was counted."""
        lines = [f"{self.kind}: {len(self.layers)} layers, heads {', '.join(sorted(self.heads))}"]
        for number, stage in enumerate(self.stages, start=1):
            layers = [layer for layer in self.layers if layer.name in stage.layers]
            if not layers:
                continue
            least, most = (f(layer.channels for layer in layers) for f in (min, max))
            channels = f"{most}" if least == most else f"{least} to {most}"
            size = "×".join(str(side) for side in layers[-1].size)
            many = "layers" if len(layers) > 1 else "layer"
            said = [f"{len(layers)} {many} of {channels} channels", f"to {size}" if size else ""]
            if stage.blocks:
                more = f" and {len(stage.blocks) - _NAMED} more" if len(stage.blocks) > _NAMED else ""
                which = "blocks" if len(stage.blocks) > 1 else "block"
                said.append(f"{len(stage.blocks)} optional {which}: {', '.join(stage.blocks[:_NAMED])}{more}")
            lines.append(f"  stage {number}: " + ", ".join(part for part in said if part))
        lines.append("  dimensions: " + ", ".join(f"{name} {values}" for name, values in self.dimensions.items()))
        for target, cost in self.costs.items():
            lines.append(f"  {target.label}: {cost.macs:,} multiply-accumulates, {cost.parameters:,} parameters")
        return "\n".join(lines)

    @property
    def dimensions(self) -> Mapping[str, str]:
        """What a lattice may have, and which values."""
        found = {WIDTH: "0 to 1"}
        if self.optional:
            found[DEPTH] = f"1 to {len(self.optional)}"
        for number, stage in enumerate(self.stages, start=1):
            if len(self.stages) > 1:
                found[f"{WIDTH}_{number}"] = "0 to 1"
                if len(stage.blocks) > 1:
                    found[f"{DEPTH}_{number}"] = f"1 to {len(stage.blocks)}"
        return found


def describe(
    network: nn.Module,
    input_shape: tuple[int, ...],
    exchanges: Exchanges | None = None,
    lattice: Lattice | None = None,
) -> Description:
    """What a network can be nested in, and what its sub-models cost. The network stays as it is.

    What it gives is what `nest` is called with:

        found = describe(network, (3, 224, 224))
        lattice = Lattice.product(width_1=(0.5, 1.0), width_2=(0.5, 1.0), depth_2=(1, 2))
        nest(network, lattice, "batch", (3, 224, 224), found.heads, stages=found.stages)

    Args:
        network: plain.
        input_shape: of one example.
        exchanges: rows of the exchange table beside or in place of its own.
        lattice: the sub-models that are counted; unless given, quarters of the width at the least and the full depth.

    Raises:
        ValueError: a layer that has no nested form, with its path; a network that does not run on that shape, or cannot
            be nested in that lattice.
    """
    found = examine(network, input_shape, exchanges)
    depths = {DEPTH: (1, len(found.optional))} if len(found.optional) > 1 else {}
    lattice = lattice or Lattice.product(**{WIDTH: (0.25, 0.5, 0.75, 1.0)}, **depths)
    optional = found.optional if DEPTH in lattice.largest else ()
    plain, heads, stages = copy.deepcopy(network), found.heads, found.stages
    net = nest(plain, lattice, "batch", input_shape, heads, optional, exchanges=exchanges, stages=stages)
    return replace(found, costs=costs_of(net, MacCounter(net)))


def examine(network: nn.Module, input_shape: tuple[int, ...], exchanges: Exchanges | None = None) -> Description:
    """Finds a network's heads, residual blocks and stages by running it with stand-ins for its layers.

    As `describe`, but without counting sub-models, and whether or not it has any.

    Raises:
        ValueError: a layer that has no nested form, with its path; a network that does not run on that shape.
    """
    with at_any_width(network, input_shape, exchanges or {}) as walk:
        blocks = find_blocks(walk)
        channels = map_channels(walk)
    stages = find_stages(channels, blocks)
    sources = [source for stream in channels.streams for source in stream.sources if not source.beside]
    order = {path: place for place, path in enumerate(channels.read)}
    sources.sort(key=lambda source: order[source.name])
    blocks_in_turn = interleaved(stage.blocks for stage in stages)
    return Description(type(network).__name__, tuple(sources), channels.heads, stages, blocks_in_turn, {})
