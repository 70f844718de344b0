"""The heads: small networks from embeddings to logits."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class LinearHead(nn.Linear):
    """Linear layer that starts at zero: no class has a lead that training must undo.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``
    """

    def reset_parameters(self):
        """Set weights and biases to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class MLPHead(nn.Sequential):
    """One hidden layer with dropout.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``
    """

    def __init__(self, n_features, n_classes, hidden_dim=512, dropout=0.5):
        super().__init__(
            nn.Linear(n_features, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, n_classes),
        )


class CosineHead(nn.Module):
    """Cosine between a row and a vector per class, times a scale.

    **Shape**

    - Input: ``(n, n_features)``
    - Output: ``(n, n_classes)``, in [-`scale`, `scale`]

    Parameters
    ----------
    n_features, n_classes : int
        Dimensions.

    scale : float, default=16.0
        Factor of the cosines.

    learn_scale : bool, default=True
        Whether `scale` is only where training starts.
    """

    def __init__(self, n_features, n_classes, scale=16.0, learn_scale=True):
        super().__init__()
        # Short vectors turn fast: of long ones a step changes little.
        self.weight = nn.Parameter(0.1 * torch.randn(n_classes, n_features))
        self.start_scale = scale
        # Weight decay pulls the scale to its start, not to zero.
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=learn_scale)

    def forward(self, x):
        """Return the scaled cosines."""
        unit_x = functional.normalize(x, dim=1)
        scale = self.start_scale * self.log_scale.exp()
        return scale * unit_x @ functional.normalize(self.weight, dim=1).T


class HeadOnRows(nn.Module):
    """A trained head, with the scaling before it and the correction after it.

    **Shape**

    - Input: ``(n, n_features)``, in the units of the training rows
    - Output: ``(n, n_classes)``

    Parameters
    ----------
    head : Module
        From scaled rows to logits.

    offset, scale : ndarray of shape (n_features,)
        Scaling of the rows; features of the scale 0 are taken for 0.

    logit_scale : float
        Factor of the logits.

    logit_correction : ndarray of shape (n_classes,)
        What is added to them.
    """

    def __init__(self, head, offset, scale, logit_scale, logit_correction):
        super().__init__()
        self.head = head
        self.logit_scale = logit_scale
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        for name, values in {
            "offset": offset,
            "inverse_scale": inverse,
            "logit_correction": logit_correction,
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x):
        """Return the corrected logits."""
        logits = self.head((x - self.offset) * self.inverse_scale)
        return self.logit_scale * logits + self.logit_correction


HEADS = {"linear": LinearHead, "mlp": MLPHead, "cosine": CosineHead}
