"""Warnings that name the line of the user, however deep they arise."""

import sys
import warnings

# What may stand between the user's line and ours. Python's own modules, too: pools and
# context managers call back.
_PASSED_OVER = {"skcvae", "sklearn", "imblearn", "skorch", "torch", "joblib", "typer"}
_PASSED_OVER |= set(sys.stdlib_module_names) - {"__main__"}


def warn_user(message, category=UserWarning):
    """Warn at the innermost line that belongs to neither skcvae nor what runs it.

    In a worker process or a thread, where no such line is left, the warning names the
    outermost line of all.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_passed_over(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_passed_over(frame):
    """Tell whether a frame is of skcvae, or of what calls it for the user."""
    module = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in _PASSED_OVER
