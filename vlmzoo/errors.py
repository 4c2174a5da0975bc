"""The errors of vlmzoo: each is also the built-in error that a caller would expect."""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FrameError",
    "HubError",
    "MemoryLimitError",
    "MissingExtraError",
    "RegistryError",
    "ServiceError",
    "ShapeError",
    "VlmzooError",
]


class VlmzooError(Exception):
    """The root of all errors raised on purpose by this library."""


class ConfigError(VlmzooError, ValueError):
    """A configuration says something that cannot be built."""


class RegistryError(VlmzooError, LookupError):
    """A name is not registered, or is registered twice."""

    # LookupError prints its argument's repr; a sentence reads better plain.
    def __str__(self) -> str:
        """Return the sentence as it was written."""
        return str(self.args[0]) if self.args else ""


class ShapeError(VlmzooError, ValueError):
    """A tensor does not have the shape, or a sequence the length, that was promised."""


class CheckpointError(VlmzooError, RuntimeError):
    """A checkpoint is missing something, or holds something that does not belong."""


class DataError(VlmzooError, ValueError):
    """A sample, an image or a file of data cannot be used as it is."""


class FrameError(VlmzooError, ValueError):
    """A box, a point or a mask stands in another frame than the one it is used in."""


class HubError(VlmzooError, ConnectionError):
    """The Hub cannot be reached, or refuses what it is asked for."""


class ServiceError(VlmzooError, ConnectionError):
    """A server that training asks does not answer, or answers what cannot be used."""


class MemoryLimitError(VlmzooError, MemoryError):
    """A step does not fit into memory.

    Args:
        sentence: what is wrong and the way out.
        rows: sequences in the micro-batch.
        width: tokens in each, visual ones and padding included.
    """

    def __init__(self, sentence: str, *, rows: int = 1, width: int = 1) -> None:
        super().__init__(sentence)
        self.rows = rows
        self.width = width


class MissingExtraError(VlmzooError, ImportError):
    """An optional package is needed and not installed."""

    @classmethod
    def for_package(cls, package: str, extra: str) -> "MissingExtraError":
        """Name the missing package and the extra that brings it."""
        return cls(f"`{package}` is not installed; it comes with `pip install 'vlmzoo[{extra}]'`.")
