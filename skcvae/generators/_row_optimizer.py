"""AdamW for nets with a vector for each of many classes, few of which a batch holds."""

import torch
from torch import nn

# With fewer classes, a step of all of their vectors costs little beside the rest.
_MANY_CLASSES = 1024


def set_row_gradients(module, of_rows):
    """Let embeddings of many classes have gradients of rows of a batch, or whole."""
    for table in module.modules():
        if isinstance(table, nn.Embedding) and table.num_embeddings > _MANY_CLASSES:
            table.sparse = of_rows


def takes_rows(optimizer):
    """Tell whether an optimizer is a `RowAdamW`, with no option that rows lack."""
    options = optimizer.defaults
    plain = not (options.get("amsgrad") or options.get("maximize"))
    return isinstance(optimizer, RowAdamW) and plain


class RowAdamW(torch.optim.AdamW):
    """AdamW that leaves the rows of a sparse gradient alone that are not in it.

    A row has moments, their bias correction and weight decay as if the steps that it
    took part in were all. Dense gradients are for AdamW.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Take a step, and return the loss of the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._step_rows(parameter, group)
                    # AdamW refuses sparse gradients.
                    parameter.grad = None
        super().step()
        return loss

    def _step_rows(self, parameter, group):
        gradient = parameter.grad.coalesce()
        rows, gradient = gradient.indices()[0], gradient.values()
        state = self.state[parameter]
        if not state:
            state["steps"] = parameter.new_zeros(len(parameter), 1)
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        kept, kept_square = group["betas"]
        before = {name: values.index_select(0, rows) for name, values in state.items()}
        steps = before["steps"] + 1
        mean = before["mean"].lerp_(gradient, 1 - kept)
        square = before["square"].mul_(kept_square)
        square.addcmul_(gradient, gradient, value=1 - kept_square)
        for name, values in (("steps", steps), ("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, values)
        size = (square / (1 - kept_square**steps)).sqrt_().add_(group["eps"])
        move = mean / (1 - kept**steps) / size
        chosen = parameter.index_select(0, rows)
        chosen.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.index_copy_(0, rows, chosen.sub_(move, alpha=group["lr"]))
