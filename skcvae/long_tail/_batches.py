"""Batches with generative rebalancing: Algorithm 1 of the thesis."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.distributions import Beta

from .._devices import take_samples
from .._remix import remix_label_share
from .._training import LabelledTensors, TensorLoader

# Samples that are drawn at a time: a call of a generator has a cost of its own.
_BLOCK_SIZE = 2048

_REMIX = {"alpha": 1.0, "kappa": 3.0, "tau": 0.5}


def resolve_remix(remix):
    """Return alpha, kappa and tau of Remix as a dict, or None where it is off."""
    given = remix if isinstance(remix, dict) else {}
    if remix is not given and not remix:
        return None
    settings = {**_REMIX, **given}
    if (
        set(settings) != set(_REMIX)
        or not settings["alpha"] > 0
        or not settings["kappa"] > 1
        or not 0 <= settings["tau"] <= 1
    ):
        raise ValueError(
            "remix must be a bool or a dict with some of alpha > 0, kappa > 1 and tau "
            f"in [0, 1], got {remix}."
        )
    return settings


class WeightedTensors(LabelledTensors):
    """Samples, class codes and sample weights, which are not negative.

    Weights are float64 where the device has it.
    """

    def __init__(self, x, y, w):
        super().__init__(x, y)
        self.w = w

    def __getitem__(self, index):
        rows, x = super().__getitem__(index)
        return {**rows, "w": self.w[index]}, x


@dataclass
class MixedLabels:
    """Labels of a batch: two for each sample where samples are mixed.

    All have the shape (n,). `partner_y` are the class codes of what samples were mixed
    with, or None. `share` is that of the sample's own label; None is 1, as for the
    weights in the loss.
    """

    y: torch.Tensor
    partner_y: torch.Tensor | None = None
    share: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    partner_weight: torch.Tensor | None = None

    def __len__(self):
        return len(self.y)


class PlainLoader(TensorLoader):
    """Batches of the samples as they are, for validation."""

    def __iter__(self):
        for rows, x in super().__iter__():
            yield x, MixedLabels(rows["y"])


class RebalancedLoader(TensorLoader):
    """Draw samples by class prior, and replace some by generated ones of their class.

    Each pass over `WeightedTensors` draws as many samples as there are, with
    replacement. Only where all samples count alike, as in plain training, a pass visits
    each sample once. `priors`, a `BatchPriors`, says how to draw, replace and mix.
    `stream` takes sorted class codes and a :class:`torch.Generator`, and returns
    generated samples; None replaces nothing. Its method `start_epoch`, if there is one,
    is called before each pass.
    """

    def __init__(self, dataset, batch_size, priors, stream):
        super().__init__(dataset, batch_size)
        self.priors = priors
        self.stream = stream
        self._epoch = 0
        codes = self.dataset.y
        self._class_count = self.dataset.w.new_tensor(priors.class_count)
        # A part of the samples may be held out for validation.
        self._mass = torch.zeros_like(self._class_count)
        self._mass.index_add_(0, codes, self.dataset.w)
        self._device_generator = torch.Generator(codes.device)

    def __iter__(self):
        self._device_generator.manual_seed(int(torch.randint(2**31, ())))
        prior = self.priors.drawn(self._epoch)
        self._p_augment = torch.tensor(
            self.priors.replaced(self._epoch),
            dtype=torch.float32,
            device=self.dataset.y.device,
        )
        if hasattr(self.stream, "start_epoch"):
            self.stream.start_epoch(self._epoch)
        self._epoch += 1
        sizes = np.diff(self._bounds()).tolist()
        # Whole batches in each block, so that a batch never needs two.
        per_block = max(1, _BLOCK_SIZE // self.batch_size)
        blocks = [sizes[i : i + per_block] for i in range(0, len(sizes), per_block)]
        gathered = self._gather(prior, [sum(block) for block in blocks])
        for (x, y), block in zip(gathered, blocks, strict=True):
            generated = self._replace(x, y)
            parts = (x.split(block), y.split(block), generated.split(block))
            for batch in zip(*parts, strict=True):
                yield self._finish(*batch)

    def _gather(self, prior, sizes):
        """Yield samples and codes of a pass, in parts of these sizes."""
        data = self.dataset
        order = self._draw_order(prior)
        places = order.to(data.x.device)
        for of_x, of_y in zip(places.split(sizes), order.split(sizes), strict=True):
            x = take_samples(data.x, of_x, data.y.device)
            yield x, data.y.index_select(0, of_y)

    def _draw_order(self, prior):
        """Return the indices of the samples of a pass."""
        data = self.dataset
        per_class = data.w.new_tensor(prior) / self._mass
        chance = per_class.index_select(0, data.y) * data.w
        if chance.max() - chance.min() <= 1e-6 * chance.max():
            return torch.randperm(len(data), device=data.y.device)
        return torch.multinomial(chance, len(data), replacement=True)

    def _replace(self, x, y):
        """Put generated samples into `x`, in place, and return which they are."""
        if self.stream is None:
            return torch.zeros(len(y), dtype=torch.bool, device=y.device)
        chance = self._p_augment.index_select(0, y)
        generated = torch.rand(len(y), device=y.device) < chance
        places = generated.nonzero().squeeze(1)
        if len(places):
            codes, order = y.index_select(0, places).sort()
            rows = self.stream(codes, self._device_generator)
            x.index_copy_(0, places.index_select(0, order), rows)
        return generated

    def _finish(self, x, y, generated):
        """Mix samples where asked for, and return a batch as skorch takes it."""
        weight, remix = None, self.priors.remix
        if self.priors.generated_weight != 1:
            weight = 1 + (self.priors.generated_weight - 1) * generated.to(x.dtype)
        if remix is None:
            return x, MixedLabels(y, weight=weight)
        alpha = torch.full((len(y),), remix["alpha"], device=x.device)
        share = Beta(alpha, alpha).sample()
        other = torch.randperm(len(y), device=x.device)
        count = self._class_count.index_select(0, y)
        label_share = remix_label_share(
            share, count, count[other], remix["kappa"], remix["tau"]
        )
        mixed = torch.lerp(x[other], x, share[:, None])
        partner_weight = None if weight is None else weight[other]
        return mixed, MixedLabels(y, y[other], label_share, weight, partner_weight)


class RebalancedBlockLoader(RebalancedLoader):
    """The same for `BlockedSamples`, which come through a shuffle buffer."""

    def _gather(self, prior, sizes):
        return self.dataset.shuffled(sizes, self._draw_times(np.asarray(prior)))

    def _draw_times(self, prior):
        """Return how often each sample comes in a pass; None is once."""
        codes = self.dataset.codes
        count = np.bincount(codes, minlength=len(prior))
        chance = prior / count
        if np.ptp(chance) <= 1e-6 * chance.max():
            return None
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        drawn = rng.multinomial(len(codes), prior / prior.sum())
        of_class = np.repeat(np.cumsum(count) - count, drawn)
        places = of_class + rng.integers(0, np.repeat(count, drawn))
        order = np.argsort(codes, kind="stable")
        return np.bincount(order[places], minlength=len(codes))
