"""Which layers of a plain network have a nested form, and which are refused.

A nested form does what `forward` of torch's own class does with the layer's parameters, and no more. What a layer does
otherwise (a subclass, a hook, a parametrisation, a parameter that two layers share) would be lost without a word, so
only layers that are known to do nothing else are exchanged.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from trainers.nested.layers.convolution import NestedConv2d, NestedLinear

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_post_accumulate_grad_hooks",  # of a parameter
)


def nested_forms(
    network: nn.Module, make_norm: Callable[[nn.BatchNorm2d, bool], nn.Module], heads: frozenset[str]
) -> dict[str, nn.Module]:
    """What is to stand for each layer of `network`, by path. The network stays as it is.

    Raises:
        ValueError: a layer that has no nested form, with its path and the mend.
    """
    _refuse_shared_parameters(network)
    forms: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        if path.rpartition(".")[0] in forms:
            continue
        with named(network, path):
            form = _nested_form(module, make_norm, elastic=path not in heads)
            if form is not None and not path:
                raise ValueError("it is a layer rather than a network: put it into a Sequential")
        if form is not None:
            forms[path] = form
    for path in sorted(heads - forms.keys()):
        with named(network, path):
            raise ValueError("a head must be a Conv2d or Linear: name the layer itself, not what it is part of")
    return forms


@contextmanager
def named(network: nn.Module, path: str) -> Iterator[None]:
    """Says of an error inside which layer it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"cannot nest {place(type(network).__name__, path)}: {error}") from error


def place(network: str, path: str) -> str:
    """How a layer of a network is called in errors; the network itself, where the path is empty."""
    return f"layer {path!r} of {network}" if path else network


def _nested_form(
    module: nn.Module, make_norm: Callable[[nn.BatchNorm2d, bool], nn.Module], elastic: bool
) -> nn.Module | None:
    """What stands for a layer; None for one that works on any number of channels as it is."""
    if type(module) is nn.Conv2d:
        _refuse_more_than_forward(module)
        return NestedConv2d(module, elastic)
    if type(module) is nn.Linear:
        _refuse_more_than_forward(module)
        return NestedLinear(module, elastic)
    if type(module) is nn.BatchNorm2d:
        return _norm(module, make_norm, relu=False)
    if type(module) is nn.Sequential and len(module) == 2:
        norm, activation = module
        if type(norm) is nn.BatchNorm2d and type(activation) is nn.ReLU:
            _refuse_more_than_forward(module)
            _refuse_more_than_forward(activation)
            return _norm(norm, make_norm, relu=True)
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        raise ValueError("dropout draws from a generator that a resumed trial would have lost: build it with p=0")
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        raise ValueError(
            f"{kind} may do more than the class it derives from, which would be lost: "
            "replace it by Conv2d, Linear or BatchNorm2d itself"
        )
    if own := [name for name, _ in module.named_parameters(recurse=False)]:
        raise ValueError(
            f"{kind} has parameters ({', '.join(map(repr, own))}) but no nested form: "
            "replace it by Conv2d, Linear or BatchNorm2d"
        )
    return None


def _norm(norm: nn.BatchNorm2d, make_norm: Callable[[nn.BatchNorm2d, bool], nn.Module], relu: bool) -> nn.Module:
    _refuse_more_than_forward(norm)
    if not norm.affine:
        raise ValueError("a BatchNorm without γ and β has no nested form: build it with affine=True")
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics has no nested form: use track_running_stats=True")
    if norm.momentum is None:
        raise ValueError("running statistics that average all batches have no nested form: give momentum a number")
    return make_norm(norm, relu)


def _refuse_more_than_forward(module: nn.Module) -> None:
    """Refuses a layer that does more when called than its class's `forward`."""
    if any(getattr(what, hooks, None) for what in (module, *module.parameters()) for hooks in _HOOKS):
        raise ValueError(
            "it has hooks, which its nested form would not run: remove them "
            "(weight_norm, spectral_norm and pruning are hooks, too)"
        )
    if "forward" in vars(module):
        raise ValueError("its forward was replaced, which would be lost: give it back that of its class")


def _refuse_shared_parameters(network: nn.Module) -> None:
    """Refuses parameters that two paths lead to: each layer takes over its own."""
    known: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        path = name.rpartition(".")[0]
        first = known.setdefault(id(parameter), name)
        if first != name:
            with named(network, path):
                raise ValueError(f"its {name.rpartition('.')[2]} is {first!r}, too: give each layer its own")
