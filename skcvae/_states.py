"""States of fitted estimators that hold arrays and plain values."""

import copyreg
import sys

import numpy as np


class ArrayStateMixin:
    """Mixin whose pickled state has no type of torch, skorch or NumPy but arrays.

    skops asks for trust in each type that it does not know. A net gives the arrays of
    its weights itself, see :class:`skcvae._training.TrainingNet`.
    """

    def __reduce_ex__(self, protocol):
        """Return what pickle and joblib store, modules of the user included."""
        return copyreg.__newobj__, (type(self),), self.__getstate__()

    def __reduce__(self):
        """Refuse modules of the user; skops asks for this method, and pickle does not.

        Raise TypeError where a parameter holds one.
        """
        net = vars(self).get("net_")
        parameters = self.get_params(deep=False).values()
        if any(map(_is_module, parameters)) or (net and net.has_custom_module()):
            raise TypeError(
                f"skops cannot store this {type(self).__name__}: a parameter holds a "
                "module or a function that makes one. Give its name instead, or save "
                "by joblib."
            )
        return self.__reduce_ex__(2)

    def __getstate__(self):
        """Return the state: device and type by name, and a history as a list."""
        state = dict(super().__getstate__())
        for name in {"device_", "_output_dtype"} & state.keys():
            state[name] = str(state[name])
        if "history_" in state:
            state["history_"] = list(state["history_"])
        return state

    def __setstate__(self, state):
        """Set a state of `__getstate__`."""
        state = dict(state)
        if "_output_dtype" in state:
            state["_output_dtype"] = np.dtype(state["_output_dtype"])
        if "device_" in state:
            import torch

            state["device_"] = torch.device(state["device_"])
        if "history_" in state:
            from skorch.history import History

            state["history_"] = History(state["history_"])
        super().__setstate__(state)


def _is_module(value):
    """Tell whether a value is a module of torch, without importing it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
