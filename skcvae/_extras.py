"""Optional dependencies: imported at first use, with an error that names the extra."""

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str, caller: str) -> ModuleType:
    """Return an optional module, or raise an error that says how to install it.

    `extra` is the extra of skcvae that installs it; the error names `caller`.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{caller} needs {package}: pip install "skcvae[{extra}]".'
        ) from error


def import_pyplot(caller: str) -> ModuleType:
    """Return matplotlib's pyplot, or raise an error that says how to install it."""
    return import_extra("matplotlib.pyplot", "plot", caller)
