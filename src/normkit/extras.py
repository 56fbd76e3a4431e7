"""Optional packages: imported where they are used, and named with the extra that brings them where they are missing."""

from importlib import import_module
from types import ModuleType

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """A package of an extra is not installed; the message is the command that installs it."""


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import `module`, which the extra `extra` of normkit installs, or the package itself where no extra is named.

    Raises:
        MissingExtraError: the package is not installed; says `pip install "normkit[extra]"` or `pip install package`.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        wanted = f'"normkit[{extra}]"' if extra else top
        raise MissingExtraError(f"{top} is not installed: pip install {wanted}") from None
