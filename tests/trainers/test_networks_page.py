"""`docs/networks.md` says of every family of torchvision's, and of some of timm's, what `nest` says: `--write`."""

import re
from pathlib import Path

import pytest
import torch
from torchvision import models

from tests.trainers.test_nested_contract import ACCEPTED, HALF, LARGER, REFUSED, SIZE, published
from tests.trainers.timm_networks import TIMM, TIMM_REFUSED
from trainers.nested.exchange import nest
from trainers.nested.network import NestedNetwork

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
FAMILIES = {
    "AlexNet", "ConvNeXt", "DenseNet", "EfficientNet", "GoogLeNet", "Inception v3", "MaxViT", "MNASNet", "MobileNet v2",
    "MobileNet v3", "RegNet", "RegNet Y", "ResNet", "ResNeXt", "ShuffleNet v2", "SqueezeNet", "Swin", "Swin v2", "VGG",
    "ViT", "Wide ResNet",
}  # fmt: skip
TIMMS = {*TIMM, *TIMM_REFUSED}
HEAD = """# Networks

Every family of classification networks that torchvision ships, its code unedited, nested in width: the largest
sub-model is the plain network, and every other one the whole network with zeros outside of it (LayerNorm normalises
over the active features). Tried on one member of each with random weights, of ViT, MaxViT, Swin v2, ResNeXt and Wide
ResNet on a small network of the class; what can't be is refused before anything is trained, by path and with this
reason. The table is written by `pytest tests/trainers/test_networks_page.py --write`, and the same test holds it.

"""
OF_TIMM = """
The same of networks of timm (`pip install '.[timm]'`), whose code is another: ConvNeXt, DenseNet, MLP-Mixer, Swin and
ViT made small. A norm that is one layer with its activation (`BatchNormAct2d`) is nested as the two.

"""
TABLE = """| family | nested | how, or why not |
|:--|:--|:--|
"""


def how(net: NestedNetwork) -> str:
    found = []
    if not net.anatomy.prefixes:
        found.append("layers behind a concatenation read the prefix of every branch")
    if parted := sorted(set(net.anatomy.multiples.values())):
        groups = ", ".join(map(str, parted))
        found.append(f"whole groups or heads are kept ({groups} channels), and a multiple by the layers before them")
    if reaches := net.anatomy.reaches:
        named = ", ".join(sorted({name.rpartition(".")[2] for name in reaches}))
        found.append(f"read as prefixes beside layers: {named}")
    return "; ".join(found) or "prefixes of channels everywhere"


def line(family: str) -> str:
    """Of the table; timm's are called there what they are called by timm."""
    name = family.removeprefix("timm ")
    if family in ACCEPTED:
        plain, head = published(family)
        size = LARGER.get(family, SIZE)
        return f"| {name} | yes | {how(nest(plain, HALF, 'batch', (3, size, size), head))} |"
    make, head_path, _ = REFUSED[family]
    with torch.device("meta"):
        network = make()
    with pytest.raises(ValueError, match=r"^cannot nest ") as caught:
        nest(network, HALF, "batch", (3, 224, 224), frozenset({head_path}))
    reason = str(caught.value).removeprefix("cannot nest ").replace("|", r"\|")
    return f"| {name} | no | {reason} |"


def table(families: set[str]) -> str:
    return TABLE + "".join(f"{line(family)}\n" for family in sorted(families, key=str.lower))


def test_the_page_of_networks_is_what_nest_says_of_them(request: pytest.FixtureRequest) -> None:
    tables = [
        TABLE + "".join(f"{line(family)}\n" for family in sorted(each, key=str.lower)) for each in (FAMILIES, TIMMS)
    ]
    page = HEAD + OF_TIMM.join(tables)
    if request.config.getoption("--write"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page


def test_no_family_of_torchvisions_is_left_out() -> None:
    """By the first word of the names under which torchvision builds its classification networks."""
    words = {re.split(r"[_\d]", name)[0] for name in models.list_models(module=models)}
    assert words == {family.split()[0].lower() for family in FAMILIES}
