"""Sparse codes of rows: simplicial embeddings, and the networks around them."""

from torch import nn


class SimplicialEmbedding(nn.Module):
    r"""Groups of numbers, each put on a simplex by a softmax with a temperature.

    .. math:: s_{lv} = \frac{\exp(h_{lv} / \tau)}{\sum_w \exp(h_{lw} / \tau)}

    The smaller the temperature, the closer each group is to a choice of one of its
    entries (Lavoie et al., "Simplicial Embeddings in Self-Supervised Learning and
    Downstream Classification", ICLR 2023).

    **Shape**

    - Input: ``(..., n_groups, group_size)``
    - Output: the same; sums over the last axis are 1
    """

    def __init__(self, temperature=1.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, h):
        """Return the codes."""
        return (h / self.temperature).softmax(dim=-1)


class SimplicialAutoencoder(nn.Module):
    """Encoder to simplicial codes, decoder, and a linear classifier of the codes.

    Each position of a map is encoded and decoded by itself, and the classifier sees
    the average over the positions. Rows without positions are maps of one position.

    **Shape**

    - Input: ``(n, n_positions, n_features)``; class codes ``(n,)`` are not used
    - Output: ``(n, n_positions, n_groups, group_size)``, before the softmax
    """

    def __init__(
        self,
        n_features,
        n_classes,
        n_groups,
        group_size,
        temperature=1.0,
        hidden_dim=256,
    ):
        super().__init__()
        n_codes = n_groups * group_size
        self.encoder = nn.Sequential(
            nn.Linear(n_features, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_codes),
            nn.Unflatten(-1, (n_groups, group_size)),
        )
        self.embedding = SimplicialEmbedding(temperature)
        self.decoder = nn.Sequential(
            nn.Linear(n_codes, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, n_features),
        )
        self.head = nn.Linear(n_codes, n_classes)

    def forward(self, x, y=None):
        """Return the groups before the softmax."""
        return self.encoder(x)

    def encode(self, x):
        """Return the codes, ``(n, n_positions, n_groups, group_size)``."""
        return self.embedding(self(x))

    def decode(self, codes):
        """Return rows, ``(n, n_positions, n_features)``."""
        return self.decoder(codes.flatten(2))

    def classify(self, codes):
        """Return logits, ``(n, n_classes)``."""
        return self.head(codes.mean(dim=1).flatten(1))

    def reset(self):
        """Draw all weights anew."""
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
