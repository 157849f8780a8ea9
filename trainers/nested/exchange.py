"""From a plain network to a nested one, by exchanging its layers.

So that the published architecture is written once, in plain PyTorch; `NestedNetwork.extract` is the way back.
"""

from torch import nn

from trainers.acceleration import Accelerator
from trainers.config.methods import Affine
from trainers.config.norm import NormPolicy
from trainers.lattice import Lattice
from trainers.nested.beside import install
from trainers.nested.decompose import compose, decompose
from trainers.nested.depth import OptionalBlock
from trainers.nested.dimensions import Dimensions, Stage
from trainers.nested.layers.layer import ElasticLayer
from trainers.nested.layers.norms import norm_layer
from trainers.nested.network import NestedNetwork
from trainers.nested.table import Exchanges, nested_forms, standard_exchanges
from trainers.nested.tracing.anatomy import Anatomy, set_multiples
from trainers.nested.tracing.contract import check_sub_models
from trainers.nested.tracing.places import PlacesFinder


def nest(
    network: nn.Module,
    lattice: Lattice,
    norm: NormPolicy,
    input_shape: tuple[int, ...],
    heads: frozenset[str],
    optional: tuple[str, ...] = (),
    affine: Affine = "shared",
    exchanges: Exchanges | None = None,
    accelerator: Accelerator | None = None,
    stages: tuple[Stage, ...] = (),
    multiple: int = 1,
) -> NestedNetwork:
    """Makes a plain network nested in its width, its depth, or both, keeping all that it knows.

    Where the lattice has a `width`, every convolution and linear layer keeps its first `max(1, round(outputs ·
    width))` outputs; its inputs follow the incoming tensor. Every BatchNorm is replaced by the norm policy's layer, and
    with it the ReLU if a Sequential holds just the two; timm's norms that are one layer with their activation become
    the two. Where it has a `depth` d, a sub-model runs the first d optional blocks. Of stages, `width_2` and `depth_2`
    decide on the layers and blocks of the second, and so on.

    Weights, γ, β, eps, which parameters are learnt, and under the batch policies running statistics and their momentum
    are the plain network's, so the largest sub-model is the plain network bit for bit in fp32, in evaluation and in
    training. Switchable norms start from the prefixes of its own. Policies whose statistics are per image have no place
    for running ones. A sub-model is the whole network with everything outside of the prefixes zero: behind a
    concatenation layers read the prefix of each branch. Self-attention keeps whole heads, LayerNorm normalises over the
    active features, and what lies beside layers and goes along channels is read as a prefix, too. Networks of which
    that would not hold, because they split or reorder channels, are refused.

    Args:
        network: taken over and changed in place.
        lattice: the targets.
        norm: the norm policy.
        input_shape: of one example, e.g. (3, 32, 32).
        heads: paths of the layers that keep all outputs at every width: the classifier.
        optional: paths of residual blocks whose output is as their input, in the order in which depth adds them.
        affine: of the norm layers.
        exchanges: rows of the exchange table beside or in place of its own, by the plain layer's class:
            `{MyLayer: Exchange(MyNestedLayer, obeys="width")}`.
        accelerator: kernels to run in place of torch's own; none unless given.
        stages: parts of the network that have a width or a depth of their own where the lattice has those; `describe`
            finds them.
        multiple: of which every layer's number of outputs is one at every width, where all of them are one.

    Raises:
        ValueError: a path that is not in the network; a dimension that none of its layers obeys; a layer that has no
            nested form, or that other channels reach than a sub-model's prefixes, with its path and the mend. The
            network is then as it was.
    """
    dimensions = Dimensions(lattice, optional, stages, multiple)
    modules = {path for path, _ in network.named_modules(remove_duplicate=False)}
    named = {*heads, *optional, *(block for stage in stages for block in stage.blocks)}
    if missing := sorted(named - modules):
        raise ValueError(f"no layer named {', '.join(missing)} in {type(network).__name__}")
    layers = decompose(network, exchanges or {})
    try:
        forms = _forms(network, dimensions, norm, heads, affine, exchanges, accelerator)
        obeyed = {form.dimension for form in forms.values() if isinstance(form, ElasticLayer) and form.dimension}
        dimensions.check(type(network).__name__, frozenset(obeyed))
        anatomy = check_sub_models(network, forms, dimensions, input_shape)
    except Exception:  # of any kind: the form of a layer may be a stranger's
        compose(network, layers)
        raise
    return exchange(network, dimensions, norm, input_shape, heads, affine, exchanges, accelerator, anatomy)


def exchange(
    network: nn.Module,
    dimensions: Dimensions,
    norm: NormPolicy,
    input_shape: tuple[int, ...],
    heads: frozenset[str],
    affine: Affine,
    exchanges: Exchanges | None = None,
    accelerator: Accelerator | None = None,
    anatomy: Anatomy | None = None,
) -> NestedNetwork:
    """As `nest`, which has not refused the same architecture: what `check_sub_models` gave of it isn't asked again.

    Args:
        anatomy: that; unless given, nothing out of the ordinary was found.
    """
    anatomy = anatomy or Anatomy()
    decompose(network, exchanges or {})
    modules = dict(network.named_modules())
    forms = _forms(network, dimensions, norm, heads, affine, exchanges, accelerator)
    set_multiples(forms, anatomy.multiples)
    places = None if anatomy.prefixes else PlacesFinder(network, forms, input_shape, anatomy.reaches)
    install(network, anatomy.reaches)
    for path, form in forms.items():
        network.set_submodule(path, form.train(modules[path].training))
    for name, blocks in dimensions.blocks.items():
        for rank, path in enumerate(blocks, start=1):
            network.set_submodule(path, OptionalBlock(network.get_submodule(path), rank, name))
    make_kernels = (accelerator or Accelerator()).network
    kernels = make_kernels and make_kernels(network)
    return NestedNetwork(network, dimensions.lattice, input_shape, kernels, places, anatomy)


def _forms(
    network: nn.Module,
    dimensions: Dimensions,
    norm: NormPolicy,
    heads: frozenset[str],
    affine: Affine,
    exchanges: Exchanges | None,
    accelerator: Accelerator | None,
) -> dict[str, nn.Module]:
    make_norm = norm_layer(norm, dimensions.lattice, affine, (accelerator or Accelerator()).norms)
    return nested_forms(network, {**standard_exchanges(make_norm), **(exchanges or {})}, dimensions.of_layer, heads)
