"""The YAML file beside a backbone of the user's own: how the network is fed and read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from medbench.datasets.yaml_document import YamlDocument
from medbench.errors import ConfigurationError

_EXAMPLE = """{size}range: [0, 1]
mean: [0.485, 0.456, 0.406]
deviation: [0.229, 0.224, 0.225]"""

_Side = Annotated[int, Field(ge=8, le=4096)]
_Numbers = Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=3)]


class BackboneSettings(BaseModel):
    """What ``backbone.yaml`` says of ``backbone.onnx``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: _Side | tuple[_Side, _Side] | None = None
    """Side of its input in pixels, or height and width; None for what the file has fixed."""
    range: tuple[FiniteFloat, FiniteFloat]
    """What 0 and 255 become, before ``mean`` and ``deviation``."""
    mean: _Numbers
    """Subtracted from it, a number for each of the 3 channels (RGB), or one of grey images."""
    deviation: _Numbers
    """What the difference is divided by, for each channel."""
    output: str | None = None
    """The tensor that is the embedding, an output or one within; None for the only output."""
    tokens: Literal["class", "mean"] | None = None
    """Of an embedding of tokens: the first one, or the mean of all."""

    @model_validator(mode="after")
    def _check(self) -> BackboneSettings:
        if self.range[0] >= self.range[1]:
            raise ValueError("range must rise, as [0, 1]")
        if len(self.mean) != len(self.deviation) or len(self.mean) == 2:
            raise ValueError("mean and deviation need 3 numbers each (RGB), or 1 each (grey)")
        if min(self.deviation) <= 0:
            raise ValueError("deviation must be above 0")
        return self


def settings_path(path: Path) -> Path:
    """Where the settings of a backbone's file are: ``backbone.yaml`` beside ``backbone.onnx``."""
    return path.with_suffix(".yaml")


def read_settings(path: Path, side: int | None) -> BackboneSettings:
    """Read the settings of a backbone.

    Args:
        path: The ONNX file.
        side: Pixels of a side that the file has fixed, which need not be said again; None for none.

    Raises:
        ConfigurationError: They are missing, or wrong.
    """
    file = settings_path(path)
    if not file.is_file():
        example = _EXAMPLE.format(size="" if side else "size: 224\n")
        raise ConfigurationError(
            f"{path}: does not say how its pixels are scaled, and that is not guessed. Write "
            f"{file.name} beside it, with the numbers it was trained with; those of ImageNet "
            f"are:\n{example}"
        )
    document = YamlDocument(file)
    settings: BackboneSettings = document.validate(
        BackboneSettings, document.mapping, (), f"backbone {path.name}", "backbone"
    )
    return settings
