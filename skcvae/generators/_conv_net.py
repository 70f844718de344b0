"""Convolutional networks of generators that draw images."""

import numpy as np
import torch
from torch import nn

from ._cvae_net import Decoder, LabelledLinear

# Maps of this side or less are not halved.
_SMALLEST_SIDE = 4
# Decoded values keep this distance from the ends: rounding cannot lead beyond.
_MARGIN = 1e-5
# Images that pass through a network at once, where no gradients are kept.
_N_AT_ONCE = 256


def find_maps(image_shape):
    """Return the sides of the maps, from the image to the smallest."""
    maps = [tuple(image_shape[:2])]
    while max(maps[-1]) > _SMALLEST_SIDE:
        maps.append(tuple((side + 1) // 2 for side in maps[-1]))
    return maps


def count_channels(image_shape, width, n_maps):
    """Return the number of channels of each map, from the image to the smallest."""
    of_image = image_shape[2] if len(image_shape) == 3 else 1
    return [of_image, width, *[2 * width] * (n_maps - 2)]


def in_batches(compute, *inputs):
    """Return what a function computes; without gradients, from a part at a time."""
    if torch.is_grad_enabled() or len(inputs[0]) <= _N_AT_ONCE:
        return compute(*inputs)
    parts = zip(*(i.split(_N_AT_ONCE) for i in inputs), strict=True)
    return torch.cat([compute(*part) for part in parts])


class SizedConv2d(nn.Conv2d):
    """Convolution of 3 x 3 that knows the number of places where it is computed."""

    def __init__(self, before, after, places, stride=1):
        super().__init__(before, after, 3, stride, padding=1)
        self.n_places = int(np.prod(places))


class ConvEncoder(nn.Module):
    """Halves images (n, n_features) with codes (n,); returns (n, n_outputs).

    Labels enter as a bias of each channel for each class. `slope` is that of the leaky
    rectifiers.
    """

    def __init__(self, image_shape, width, n_classes, n_outputs, slope=0.0):
        super().__init__()
        maps = find_maps(image_shape)
        channels = count_channels(image_shape, width, len(maps))
        self.size, self.slope = (*maps[0], channels[0]), slope
        self.convolutions, self.class_biases = nn.ModuleList(), nn.ModuleList()
        for before, after, places in zip(
            channels[:-1], channels[1:], maps[1:], strict=True
        ):
            self.convolutions.append(SizedConv2d(before, after, places, stride=2))
            self.class_biases.append(nn.Embedding(n_classes, after))
            nn.init.zeros_(self.class_biases[-1].weight)
        n_hidden = channels[-1] * maps[-1][0] * maps[-1][1]
        self.out = nn.Linear(n_hidden, n_outputs)

    def forward(self, x, y):
        """Return the outputs of each image."""
        return in_batches(self._forward, x, y)

    def _forward(self, x, y):
        # Channels come last in samples: as torch computes convolutions fastest.
        maps = x.reshape(len(x), *self.size).permute(0, 3, 1, 2)
        for convolution, bias in zip(self.convolutions, self.class_biases, strict=True):
            maps = convolution(maps) + bias(y)[:, :, None, None]
            maps = nn.functional.leaky_relu(maps, self.slope)
        return self.out(maps.flatten(1))


class ConvDecoder(Decoder):
    """Turns latent vectors (n, latent_dim) into images (n, n_features) in [0, 1].

    `hidden` makes the smallest map. Then a convolution returns four times the channels
    of the next map, and they are put beside each other (Shi et al., arXiv 1609.05158).
    """

    def __init__(self, image_shape, width, n_classes, latent_dim):
        super().__init__()
        self.image_shape, self.width = image_shape, width
        self.maps = find_maps(image_shape)[::-1]
        channels = count_channels(image_shape, width, len(self.maps))[::-1]
        self.n_channels = channels[0]
        n_hidden = channels[0] * self.maps[0][0] * self.maps[0][1]
        self.hidden = LabelledLinear(latent_dim, n_hidden, n_classes)
        self.convolutions = nn.ModuleList(
            SizedConv2d(before, 4 * after, places)
            for before, after, places in zip(
                channels[:-1], channels[1:], self.maps[:-1], strict=True
            )
        )

    def decode(self, z, y):
        """Return the images."""
        return _MARGIN + (1 - 2 * _MARGIN) * torch.sigmoid(self.logits(z, y))

    def logits(self, z, y):
        """Return the images before the sigmoid."""
        return in_batches(self._logits, z, y)

    def _logits(self, z, y):
        maps = self.hidden(z, y).reshape(len(z), self.n_channels, *self.maps[0])
        maps = maps.contiguous(memory_format=torch.channels_last)
        for convolution, (height, width) in zip(
            self.convolutions, self.maps[1:], strict=True
        ):
            maps = nn.functional.pixel_shuffle(convolution(maps.relu()), 2)
            maps = maps[:, :, :height, :width]
        return maps.permute(0, 2, 3, 1).flatten(1)


class ConvNet(nn.Module):
    """Encoder and decoder of a CVAE of images whose values are in [0, 1]."""

    def __init__(self, image_shape, width, n_classes, latent_dim):
        super().__init__()
        self.encoder = ConvEncoder(image_shape, width, n_classes, 2 * latent_dim)
        self.decoder = ConvDecoder(image_shape, width, n_classes, latent_dim)

    def encode(self, x, y):
        """Return mean and log-variance of q(z | x, y)."""
        return self.encoder(x, y).chunk(2, dim=-1)

    def decode(self, z, y):
        """Return the mean of p(x | z, y)."""
        return self.decoder.decode(z, y)
