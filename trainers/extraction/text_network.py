"""What a finished trial's network of texts is, written beside its weights, so that nothing else is asked for.

The trial's config names a data set and an encoder, which may be a folder, a package or the hub's, and gone by the time
somebody loads the network. The tokenizer that it was trained with exists where it was trained, and may have been made
there of the texts. So both are written with every snapshot, as text.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trainers.lattice import Lattice
from trainers.nested.encoder_size import Kept
from trainers.networks.encoders import blank, padding
from trainers.submodel import SubModel

DESCRIPTION, TOKENIZER, TOKENIZER_CONFIG = "network.json", "tokenizer.json", "tokenizer_config.json"
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG)
_NAMES = {
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class TextNetwork:
    """A nested encoder with a head, less its weights.

    Attributes:
        encoder: as `config.json` says it, whole.
        outputs: classes; 1 for a score.
        classes: their names; none for a score, or where they are not known.
        pairs: whether an example is of two texts.
        kinds: whether the network is told which text of a pair a token is of.
        length: tokens of a text or pair at most.
        targets: the sub-models, each by its dimensions.
        macs: of each, for a text as long as may be, in the same order.
        kept: which layers a depth keeps.
    """

    encoder: Mapping[str, Any]
    outputs: int
    classes: tuple[str, ...]
    pairs: bool
    kinds: bool
    length: int
    targets: tuple[Mapping[str, int | float], ...]
    macs: tuple[int, ...]
    kept: Kept

    @classmethod
    def read(cls, folder: Path) -> "TextNetwork":
        """As `files` had it written.

        Raises:
            OSError: it is not there.
        """
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        lists = {name: tuple(said[name]) for name in ("classes", "targets", "macs")}
        return cls(**{**said, **lists})

    @property
    def lattice(self) -> Lattice:
        return Lattice(tuple(SubModel(**target) for target in self.targets))

    @property
    def macs_by_label(self) -> dict[str, int]:
        return {SubModel(**target).label: macs for target, macs in zip(self.targets, self.macs, strict=True)}

    def blank(self) -> nn.Module:
        """The plain model, whatever its weights."""
        return blank(self.encoder, self.outputs)

    def files(self, tokenizer: Any) -> dict[str, str]:
        """What is written beside the weights: itself, and the tokenizer as `save_pretrained` does; by names.

        Args:
            tokenizer: a `tokenizers.Tokenizer`, which from now on cuts what is too long and does not pad.
        """
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.length)
        words, filler = tokenizer.get_vocab(with_added_tokens=True), tokenizer.id_to_token(padding(self.encoder))
        found = {name: next((word for word in usual if word in words), None) for name, usual in _NAMES.items()}
        special = {name: word for name, word in {**found, "pad_token": filler}.items() if word is not None}
        inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if self.kinds else [])]
        about = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.length,
            "model_input_names": inputs,
            "clean_up_tokenization_spaces": False,
            **special,
        }
        return {
            DESCRIPTION: json.dumps(asdict(self), indent=2),
            TOKENIZER: tokenizer.to_str(pretty=False),
            TOKENIZER_CONFIG: json.dumps(about, indent=2),
        }
