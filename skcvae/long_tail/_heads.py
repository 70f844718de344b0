"""The heads: small networks from embeddings to logits."""

import torch
from torch import nn
from torch.nn import functional


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


HEADS = {"linear": nn.Linear, "mlp": MLPHead, "cosine": CosineHead}
