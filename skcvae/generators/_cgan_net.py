"""The networks of a conditional GAN, and the skorch net that trains them in turn."""

import numpy as np
import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel

from .._training import TrainingNet
from ._conv_net import ConvDecoder, ConvEncoder
from ._cvae_net import LabelledLinear, NoiseScale, SmallDecoder
from ._net_generator import (
    assemble_net,
    count_batches,
    record_terms,
    resolve_max_epochs,
)

_AUTO_STEPS = 1500
_TERMS = ("critic_loss", "generator_loss", "gradient_penalty")
# Share of the old average in each step: it spans the last two hundred steps.
_AVERAGE_DECAY = 0.995
# Learning rate of the generator, as a share of the critic's.
_GENERATOR_LR = 0.3
_SLOPE = 0.2


def update_average(average, current, n_averaged):
    """Return the next exponential moving average of a weight."""
    return torch.lerp(average, current, 1 - _AVERAGE_DECAY)


class GeneratorNet(nn.Module):
    """Samples f(z, y) + s(z, y) L e of standard normal noise z and e.

    Takes noise (n, latent_dim + n_features) and class codes (n,). At first f is 0 and s
    is 1: training starts from a Gaussian.
    """

    def __init__(self, factor, n_classes, latent_dim, hidden_dim):
        super().__init__()
        n_features = len(factor)
        self.register_buffer("factor", torch.from_numpy(factor))
        self.latent_dim, self.n_noise = latent_dim, latent_dim + n_features
        self.decoder = SmallDecoder(n_features, n_classes, latent_dim, hidden_dim)
        self.scale = NoiseScale(n_classes, latent_dim)
        nn.init.zeros_(self.decoder.out.weight)
        nn.init.zeros_(self.decoder.out.bias)

    def forward(self, noise, y):
        """Return a sample for each noise vector."""
        z, e = noise[:, : self.latent_dim], noise[:, self.latent_dim :]
        return self.decoder.decode(z, y) + self.scale(z, y).exp() * (e @ self.factor.T)


class ImageGenerator(nn.Module):
    """Images (n, n_features) of standard normal noise (n, latent_dim) and codes."""

    def __init__(self, images, n_classes, latent_dim):
        super().__init__()
        self.n_noise = latent_dim
        self.decoder = ConvDecoder(
            images.image_shape, images.width, n_classes, latent_dim
        )

    def forward(self, noise, y):
        """Return an image for each noise vector."""
        return self.decoder.decode(noise, y)


class Critic(nn.Module):
    """Score (n,) of labelled samples: higher for real than for generated ones."""

    def __init__(self, n_features, n_classes, hidden_dim):
        super().__init__()
        self.first = LabelledLinear(n_features, hidden_dim, n_classes)
        self.second = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, 1)

    def forward(self, x, y):
        """Return the score of each sample."""
        hidden = nn.functional.leaky_relu(self.first(x, y), _SLOPE)
        hidden = nn.functional.leaky_relu(self.second(hidden), _SLOPE)
        return self.out(hidden).squeeze(1)


class ImageCritic(ConvEncoder):
    """Score (n,) of labelled images: higher for real than for generated ones."""

    def __init__(self, images, n_classes):
        super().__init__(images.image_shape, images.width, n_classes, 1, slope=_SLOPE)

    def forward(self, x, y):
        """Return the score of each image."""
        return super().forward(x, y).squeeze(1)


class AdversarialPair(nn.Module):
    """Generator, the running average of its weights, and critic.

    Takes samples and class codes, returns generated samples of the same classes. With
    `images`, a `ConvBackbone`, both networks are convolutional, and `factor` is None.
    """

    def __init__(
        self,
        factor,
        n_classes,
        latent_dim,
        hidden_dim=256,
        critic_dim=256,
        images=None,
    ):
        super().__init__()
        if images is None:
            self.generator = GeneratorNet(factor, n_classes, latent_dim, hidden_dim)
            self.critic = Critic(len(factor), n_classes, critic_dim)
        else:
            self.generator = ImageGenerator(images, n_classes, latent_dim)
            self.critic = ImageCritic(images, n_classes)
        self.average = AveragedModel(self.generator, avg_fn=update_average)
        self.average.requires_grad_(False)

    def forward(self, x, y):
        """Generate a sample of the class of each sample."""
        noise = torch.randn(len(x), self.generator.n_noise, device=x.device)
        return self.generator(noise, y)


def gradient_penalty(critic, real, generated, y):
    r"""Return how far the gradients of the scores are from norm 1.

    :math:`(\lVert \nabla_x D(x, y) \rVert - 1)^2`, averaged over samples x that lie
    anywhere between a real and a generated sample (Gulrajani et al., 2017).
    """
    share = torch.rand(len(real), 1, device=real.device)
    x = torch.lerp(generated, real, share).requires_grad_(True)
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        (gradients,) = torch.autograd.grad(
            critic(x, y).sum(), x, create_graph=create_graph
        )
    return ((gradients.norm(dim=1) - 1) ** 2).mean()


class CGANNet(TrainingNet):
    """skorch net whose steps train the critic, then the generator, on each batch.

    One optimizer serves both: it skips weights that have no gradient. `penalty` is the
    weight of the gradient penalty.
    """

    def __init__(self, *args, penalty=10.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.penalty = penalty

    def train_step(self, batch, **fit_params):
        """Train the critic, then the generator; return the loss of the critic."""
        self._set_training(True)
        module = self.module_
        loss = self._step(self._critic_loss, module.critic, batch)
        self._step(self._generator_loss, module.generator, batch)
        module.average.update_parameters(module.generator)
        return {"loss": loss, "y_pred": None}

    @torch.no_grad()
    def validation_step(self, batch, **fit_params):
        """Return the loss of the critic on samples that it is not trained on."""
        self._set_training(False)
        y, real = batch[0]["y"], batch[1]
        self._generator_loss(y, real)
        return {"loss": self._critic_loss(y, real), "y_pred": None}

    def _step(self, compute_loss, trained, batch):
        """Take one step with one of the two networks; return its loss."""
        self.optimizer_.zero_grad()
        self.module_.requires_grad_(False)
        trained.requires_grad_(True)
        loss = compute_loss(batch[0]["y"], batch[1])
        loss.backward()
        self.notify(
            "on_grad_computed",
            named_parameters=list(trained.named_parameters()),
            batch=batch,
            training=True,
        )
        self.optimizer_.step()
        return loss.detach()

    def _critic_loss(self, y, real):
        with torch.no_grad():
            generated = self.module_(real, y)
        critic = self.module_.critic
        penalty = self.penalty * gradient_penalty(critic, real, generated, y)
        loss = critic(generated, y).mean() - critic(real, y).mean()
        self._record("gradient_penalty", penalty)
        self._record("critic_loss", loss)
        return loss + penalty

    def _generator_loss(self, y, real):
        loss = -self.module_.critic(self.module_(real, y), y).mean()
        self._record("generator_loss", loss)
        return loss

    def _record(self, name, value):
        prefix = "train" if self.module_.training else "valid"
        self.history.record_batch(f"{prefix}_{name}", value.detach())


def build_net(cgan, n_samples, n_classes, device):
    """Return the untrained net of a CGAN; its `net_params` win."""
    images = cgan._images
    max_epochs = resolve_max_epochs(cgan, n_samples, _AUTO_STEPS)
    params = {
        "module": AdversarialPair,
        "module__factor": None
        if images
        else cgan.covariance_factor_.astype(np.float32),
        "module__images": images,
        "module__n_classes": n_classes,
        "module__latent_dim": cgan.latent_dim,
        "criterion": nn.Module,
        "penalty": cgan.penalty,
        "optimizer": torch.optim.Adam,
    }
    if "optimizer" not in (cgan.net_params or {}):
        params.update(optimizer__fused=True, optimizer__betas=(0.0, 0.99))
    # The critic must keep up with the generator, or its scores mean nothing.
    slow = {"lr": _GENERATOR_LR * cgan.lr}
    params["optimizer__param_groups"] = [("generator.*", slow)]
    schedule = LRScheduler(
        CosineAnnealingLR,
        step_every="batch",
        T_max=count_batches(cgan, n_samples) * max_epochs,
    )
    callbacks = record_terms(*(f"{n}_{t}" for n in ("train", "valid") for t in _TERMS))
    callbacks.append(("lr_schedule", schedule))
    return assemble_net(CGANNet, cgan, params, callbacks, max_epochs, device)
