"""The encoder of texts and the sub-models that it shall hold."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from trainers.config.network import SubModelsConfig, spelled
from trainers.config.part import Text
from trainers.errors import ConfigError
from trainers.lattice import Lattice
from trainers.nested.encoder_size import DEPTH, HEADS, HIDDEN, NEURONS, EncoderSize, Kept, check_lattice
from trainers.submodel import SubModel

if TYPE_CHECKING:
    from trainers.networks.encoder_sources import EncoderSource


class EncoderConfig(SubModelsConfig):
    """The pretrained encoder that is made nested, and its dimensions."""

    DIMENSIONS: ClassVar[Mapping[str, type[float]]] = {DEPTH: int, HIDDEN: int, HEADS: int, NEURONS: int}

    name: Text = Field(
        default="minilm",
        description="The encoder, by its name; or a folder that holds one as save_pretrained writes it.",
        json_schema_extra={"alone": True},
    )
    dimensions: Mapping[str, tuple[int | float, ...]] = Field(
        default={},
        description="The supports of the target sub-models; what is not named is whole, heads follow the hidden size.",
        json_schema_extra={"unit": "depth: layers; hidden: units; heads: heads; neurons: of the feed-forward layers"},
    )
    combination: Literal["product", "zip"] = Field(
        default="product",
        description="All combinations of the supports that a smaller model can be; or zip: the smallest of each make "
        "up the smallest sub-model, and so on.",
    )
    kept: Kept = Field(
        default="first", description="Which layers a depth keeps: the first, or spaced evenly over the next larger."
    )

    @property
    def source(self) -> "EncoderSource":
        """Where the encoder comes from.

        Raises:
            ConfigError: there is none of that name.
        """
        from trainers.networks.encoder_sources import encoder_source  # torch, which no check of a value needs

        return encoder_source(self.name)

    @property
    def full(self) -> EncoderSize:
        """The sizes of the whole encoder."""
        return EncoderSize.whole(self.source.config)

    @property
    def lattice(self) -> Lattice:
        supports = self.dimensions
        if self.combination == "zip":
            points = zip(*supports.values(), strict=True)
            return Lattice(tuple(SubModel(**dict(zip(supports, point, strict=True))) for point in points))
        if not {HIDDEN, HEADS} <= supports.keys():
            return super().lattice
        return Lattice(tuple(each for each in super().lattice if each[HEADS] * self.head_size <= each[HIDDEN]))

    @property
    def head_size(self) -> int:
        """Units of an attention head, the same in every sub-model."""
        return self.full.hidden // self.full.heads

    def resolved(self) -> "EncoderConfig":
        """With a folder's absolute path, and the whole encoder as its only target where no dimensions are said.

        What has no effect is as if unsaid: how one dimension is combined, and which layers of one depth are kept.

        Raises:
            ConfigError: no such encoder.
            DataError: a folder that holds none.
        """
        from trainers.networks.encoder_sources import FolderEncoder

        source, update = self.source, dict[str, Any]()
        if not self.dimensions:
            update["dimensions"] = {DEPTH: (self.full.depth,)}
        if len(self.dimensions) < 2:
            update["combination"] = "product"
        if len(self.dimensions.get(DEPTH, ())) < 2:
            update["kept"] = "first"
        if isinstance(source, FolderEncoder):
            update["name"] = str(source.folder)
        return self.model_copy(update=update)

    def check(self) -> None:
        """Refuses dimensions that this encoder does not have, or that make up no lattice with the whole one in it.

        Raises:
            ConfigError: naming the dimension.
        """
        lengths = {name: len(values) for name, values in self.dimensions.items()}
        if self.combination == "zip" and len({*lengths.values()}) > 1:
            counts = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise ConfigError(f"network.combination=zip: as many values of each dimension are needed; {counts}")
        try:
            check_lattice(self.lattice, self.full)
        except ValueError as error:
            said = ", ".join(spelled(name, values) for name, values in self.dimensions.items())
            raise ConfigError(f"{said}: {error}") from error
