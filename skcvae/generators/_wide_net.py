"""Training of a CVAE on wide data: in the coordinates of the samples, and back."""

import numpy as np
import torch

from .._thin_covariance import principal_directions


class SampleCoordinates:
    """Principal components of samples, which a net is trained on in place of features.

    A layer of very many inputs is far too sensitive to one step of its weights, and
    fewer samples than features tell of as many directions only. `scale` gives the
    components a mean square of 1.
    """

    def __init__(self, residuals):
        residuals = residuals.astype(np.float64)
        directions, squares = principal_directions(residuals)
        # A direction and its opposite are the same to the data, and not to a net.
        largest = np.abs(directions).argmax(axis=0)
        directions *= np.sign(directions[largest, np.arange(len(squares))])
        self.scale = np.sqrt(squares.sum() / max(residuals.shape[0] * len(squares), 1))
        self.scale = self.scale or 1.0
        self.directions = directions.astype(np.float32)
        self.coordinates = (residuals @ directions / self.scale).astype(np.float32)

    def from_features(self, residuals):
        """Return coordinates of new samples, float32."""
        return (residuals @ self.directions / self.scale).astype(np.float32)

    def to_features(self, coordinates):
        """Return residuals of samples for their coordinates."""
        return coordinates * self.scale @ self.directions.T

    @torch.no_grad()
    def widen(self, module):
        """Let a trained net of a named architecture take and return features.

        Its noise becomes 1 for each feature.
        """
        device = module.feature_log_noise.device
        turn = torch.from_numpy(self.directions).to(device)
        backbone = getattr(module.backbone, "network", module.backbone)
        first = backbone.encoder_in.linear
        _set(first, first.weight @ turn.T / self.scale, first.bias)
        out = backbone.decoder.out
        last = out[-1] if isinstance(out, torch.nn.Sequential) else out
        back = turn * self.scale
        _set(last, back @ last.weight, back @ last.bias)
        module.feature_log_noise = torch.nn.Parameter(
            torch.zeros(len(turn), device=device)
        )


def _set(layer, weight, bias):
    """Replace weights and biases of a linear layer, and so its sizes."""
    layer.out_features, layer.in_features = weight.shape
    layer.weight, layer.bias = (
        torch.nn.Parameter(v.to(torch.float32)) for v in (weight, bias)
    )
