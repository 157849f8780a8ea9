"""The exchange table: which layers of a plain network have a nested form, what it is, and which dimension it obeys.

A nested form does what `forward` of torch's own class does with the layer's parameters, and no more. What a layer does
otherwise (a subclass, a hook, a parametrisation) would be lost without a word, so layers are looked up by their very
class, and refused if they have parameters and are not in the table. Parameters that are tied to several layers stay so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from trainers.nested.known import KNOWN, TORCH_ATTENTION
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.layer import ElasticLayer, NestedLayer
from trainers.nested.layers.layer_norm import NestedLayerNorm
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.layers.norms import MakeNorm

WIDTH = "width"


@dataclass(frozen=True)
class Exchange:
    """What stands for the layers of one class.

    Attributes:
        form: (plain layer, dimension) → the nested layer, a `NestedLayer`, which takes over the layer's parameters;
            or None if this one stays as it is. The dimension is None where the layer keeps all its outputs: for a
            head, or if the lattice does not have it. Raises ValueError, with the mend, for a layer that it can't do.
        obeys: the lattice's dimension that decides how many outputs it has.
    """

    form: Callable[[Any, str | None], nn.Module | None]
    obeys: str = WIDTH


Exchanges = Mapping[type[nn.Module], Exchange]
Obeyed = Callable[[str, str], str | None]
"""(path of a layer, the dimension that its row says) → the lattice's that it obeys; None: it has all its outputs."""


def standard_exchanges(make_norm: MakeNorm) -> dict[type[nn.Module], Exchange]:
    """The table of torch's own layers: whoever brings another layer adds a row.

    Args:
        make_norm: the norm policy's constructor.
    """

    def norm(plain: nn.BatchNorm2d, dimension: str | None) -> nn.Module:
        _refuse_norm_of_another_kind(plain)
        return make_norm(plain, False, dimension)

    def norm_and_relu(pair: nn.Sequential, dimension: str | None) -> nn.Module | None:
        if [type(layer) for layer in pair] != [nn.BatchNorm2d, nn.ReLU]:
            _refuse_own_parameters(pair, "")
            return None
        plain = pair[0]
        assert isinstance(plain, nn.BatchNorm2d)
        _refuse_norm_of_another_kind(plain)
        return make_norm(plain, True, dimension)

    return {
        nn.Conv2d: Exchange(NestedConv2d),
        nn.Linear: Exchange(NestedLinear),
        nn.BatchNorm2d: Exchange(norm),
        nn.LayerNorm: Exchange(lambda layer, dimension: NestedLayerNorm(layer)),
        nn.MultiheadAttention: Exchange(lambda layer, dimension: NestedSelfAttention(layer, TORCH_ATTENTION)),
        nn.Sequential: Exchange(norm_and_relu),
    }


def nested_forms(
    network: nn.Module, exchanges: Exchanges, dimension: Obeyed, heads: frozenset[str]
) -> dict[str, nn.Module]:
    """What is to stand for each layer of `network`, by path. The network stays as it is.

    Args:
        network: plain.
        exchanges: the table.
        dimension: decides on each layer's outputs.
        heads: paths of the layers that keep all of them.

    Raises:
        ValueError: a layer that has no nested form, with its path and the mend.
    """

    def obeyed(path: str, usual: str) -> str | None:
        return None if path in heads else dimension(path, usual)

    _refuse_shared_layers(network)
    forms: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        if _inside(path, forms):
            continue
        with named(network, path):
            form = _nested_form(module, exchanges, partial(obeyed, path))
            if form is not None:
                _refuse_unless_nested_layer(form, path)
        if form is not None:
            forms[path] = form
    for path in sorted(heads):
        if not isinstance(forms.get(path), ElasticLayer):
            with named(network, path):
                raise ValueError("a head must be a Conv2d or Linear: name the layer itself, not what it is part of")
    _tie(network, forms)
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


def class_name(module: nn.Module) -> str:
    """The full name of its class, by which layers of other packages are known."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _inside(path: str, forms: Mapping[str, nn.Module]) -> bool:
    """Whether a layer is part of one that is exchanged as a whole."""
    return any(owner in forms for owner in _with_owners(path))


def _nested_form(module: nn.Module, exchanges: Exchanges, dimension: Callable[[str], str | None]) -> nn.Module | None:
    """What stands for a layer; None for one that works on any number of channels as it is."""
    kind = type(module)
    rule = exchanges.get(kind)
    if rule is None and (known := KNOWN.get(class_name(module))) is not None:
        rule = Exchange(known)
    if rule is None:
        _refuse_without_rule(module, exchanges)
        return None
    form = rule.form(module, dimension(rule.obeys))
    if form is not None:
        for part in module.modules():
            refuse_more_than_forward(part)
    return form


def _refuse_unless_nested_layer(form: nn.Module, path: str) -> None:
    if not path:
        raise ValueError("it is a layer rather than a network: put it into a Sequential")
    if not isinstance(form, NestedLayer):
        lacking = [name for name in ("dimension", "inputs", "axis", *_METHODS) if not hasattr(form, name)]
        raise ValueError(f"its nested form {type(form).__name__} lacks {', '.join(lacking)}: see NestedLayer")


_METHODS = ("activate", "plain", "output_shape")


_ELEMENTWISE = (nn.PReLU,)  # whose parameter is found as one beside layers is


def _refuse_without_rule(module: nn.Module, exchanges: Exchanges) -> None:
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        raise ValueError("dropout draws from a generator that a resumed trial would have lost: build it with p=0")
    kind, known = type(module).__name__, [rule.__name__ for rule in exchanges if rule is not nn.Sequential]
    mend = f"replace it by {', '.join(known[:-1])} or {known[-1]}"
    if isinstance(module, tuple(rule for rule in exchanges if rule is not nn.Sequential)):
        raise ValueError(
            f"{kind} may do more than the class it derives from, which would be lost: {mend} itself, or add a row for "
            "it to the exchanges"
        )
    if type(module).__module__.startswith("torch.nn.") and not isinstance(module, _ELEMENTWISE):
        _refuse_own_parameters(module, f": {mend}, or add a row for it to the exchanges")


def _refuse_own_parameters(module: nn.Module, mend: str) -> None:
    if own := [name for name, _ in module.named_parameters(recurse=False)]:
        kind = type(module).__name__
        raise ValueError(f"{kind} has parameters ({', '.join(map(repr, own))}) but no nested form{mend}")


def _refuse_norm_of_another_kind(norm: nn.BatchNorm2d) -> None:
    if not norm.affine:
        raise ValueError("a BatchNorm without γ and β has no nested form: build it with affine=True")
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics has no nested form: use track_running_stats=True")
    if norm.momentum is None:
        raise ValueError("running statistics that average all batches have no nested form: give momentum a number")


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_post_accumulate_grad_hooks",  # of a parameter
)


def refuse_more_than_forward(module: nn.Module) -> None:
    """Refuses a layer that does more when called than its class's `forward`."""
    if any(getattr(what, hooks, None) for what in (module, *module.parameters()) for hooks in _HOOKS):
        raise ValueError(
            "it has hooks, which its nested form would not run: remove them "
            "(weight_norm, spectral_norm and pruning are hooks, too)"
        )
    if "forward" in vars(module):
        raise ValueError("its forward was replaced, which would be lost: give it back that of its class")


def _refuse_shared_layers(network: nn.Module) -> None:
    """Refuses a layer that two paths lead to: channels of one place are none of the other's."""
    known: dict[int, str] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        first = known.setdefault(id(module), path)
        if first != path and next(module.parameters(), None) is not None:
            with named(network, path):
                raise ValueError(
                    f"it is {first!r}, too: give each place a layer of its own, whose parameters may be tied"
                )


def _tie(network: nn.Module, forms: Mapping[str, nn.Module]) -> None:
    """Parameters that are one in the network become one in the nested forms."""
    firsts: dict[int, nn.Parameter] = {}
    named_all = list(network.named_parameters(remove_duplicate=False))
    uses = Counter(id(plain) for _, plain in named_all)
    for name, plain in named_all:
        path = next((path for path in _with_owners(name) if path in forms), None)
        if path is None:
            _refuse_tied_beside(network, name, uses[id(plain)])
            continue
        with named(network, path):
            owner, _, local = name.removeprefix(f"{path}.").rpartition(".")
            try:
                own = getattr(forms[path].get_submodule(owner), local)
            except AttributeError:
                own = None
            if isinstance(own, nn.Parameter) and _same_memory(own, plain):
                first = firsts.setdefault(id(plain), own)
                setattr(forms[path].get_submodule(owner), local, first)
            elif uses[id(plain)] > 1:
                raise ValueError(
                    f"its {local} is tied to another layer's, which is lost in {type(forms[path]).__name__}: give each "
                    "layer its own"
                )


def _refuse_tied_beside(network: nn.Module, name: str, uses: int) -> None:
    """Refuses a parameter beside layers that is another's, too."""
    if uses > 1:
        path, _, local = name.rpartition(".")
        with named(network, path):
            raise ValueError(f"its {local} is tied to another's, and lies beside layers: give each its own")


def beside(network: nn.Module, forms: Mapping[str, nn.Module]) -> list[str]:
    """Full names of the parameters and buffers that lie beside the layers, and hold numbers with a fraction."""
    named_all = (*network.named_parameters(), *network.named_buffers())
    return [name for name, tensor in named_all if tensor.is_floating_point() and not _inside(name, forms)]


def _same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one layout are in the same place, the meta device's included."""
    storages = [StorageWeakRef(each.untyped_storage()) for each in (one, other)]
    alike = (one.shape, one.stride(), one.storage_offset()) == (other.shape, other.stride(), other.storage_offset())
    return alike and storages[0] == storages[1]


def _with_owners(name: str) -> Iterator[str]:
    """The paths of what a parameter is part of, the nearest first."""
    while name:
        name = name.rpartition(".")[0]
        yield name
