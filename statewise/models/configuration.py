"""What a model is built from: strict, so that a typo is an error that suggests the right name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from statewise import mixers as catalogue
from statewise.models import pretrained

Kind = TypeVar("Kind", bound="Configuration")


class Configuration(BaseModel):
    """A configuration that knows all its fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    called: ClassVar[str] = "a model"
    """What a complaint calls what is configured."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            for field in fields:
                if field not in cls.model_fields:
                    raise ValueError(
                        f"{cls.called} has no field {field!r}"
                        f"{catalogue.nearest(str(field), cls.model_fields)}"
                    )
        return fields


def stored(folder: str | Path, kind: str, configuration: type[Kind]) -> Kind:
    """Return the configuration of the model in a folder.

    Args:
        folder: what a model was saved to.
        kind: of the model, as `config.json` has it.
        configuration: what it is read as.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if the file is damaged, or describes something else.
    """
    fields = pretrained.read_config(folder, kind)
    try:
        return configuration(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{Path(folder) / pretrained.CONFIG}: {place}{message}") from None
