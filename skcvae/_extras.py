"""Optional dependencies: imported at first use, with an error that names the extra."""

from importlib import import_module


def import_extra(module, extra, caller):
    """Return an optional module, or say how to install it.

    Parameters
    ----------
    module : str
        Its full name.

    extra : str
        The extra of skcvae that installs it.

    caller : str
        What needs it, as the error names it.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{caller} needs {package}: pip install "skcvae[{extra}]".'
        ) from error


def import_pyplot(caller):
    """Return matplotlib's pyplot, or say how to install it."""
    return import_extra("matplotlib.pyplot", "plot", caller)
