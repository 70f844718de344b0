"""States of fitted estimators that hold arrays and plain values."""

import numpy as np


class ArrayStateMixin:
    """Mixin whose pickled state has no type of torch, skorch or NumPy but arrays.

    skops asks for trust in each type that it does not know. A net gives the arrays of
    its weights itself, see :class:`skcvae._training.TrainingNet`.
    """

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
