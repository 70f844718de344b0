"""The net that trains a private CVAE: skorch's loop with the steps of Opacus."""

import warnings

import torch
from torch import nn

from ..._devices import CPU, has_float64, take_samples
from ..._extras import import_extra
from ..._training import TrainingNet, progress_callbacks
from .._cvae_net import NegativeELBO, SmallBackbone

_MIN_LOG_NOISE = -4.0
# Far above what sound training reaches. Where activations, logarithms and weights keep
# to these limits, no float32 overflows in the gradient of any sample.
_MAX_ACTIVATION = 1e4
_MAX_LOG_VARIANCE = 30.0
_MAX_WEIGHT = 1e3


def import_opacus(module):
    """Return a module of Opacus, or say how to install it."""
    return import_extra(f"opacus.{module}", "dp", "Training with differential privacy")


class PrivateVAE(nn.Module):
    """Variational autoencoder whose gradient norms Opacus computes for each sample.

    It has no normalisation over the batch, and each parameter belongs to a linear layer
    or an embedding. Labels are not used: the gradient of a bias for each class is
    smaller than the noise it would need. It returns what `ConditionalVAE` returns.
    """

    def __init__(self, n_features, n_classes, latent_dim, hidden_dim):
        super().__init__()
        self.backbone = SmallBackbone(n_features, n_classes, latent_dim, hidden_dim)
        for layer in (self.backbone.encoder_in, self.backbone.decoder.hidden):
            layer.class_bias.requires_grad_(False)
        # For a bare parameter Opacus would compute whole gradients of each sample.
        self.feature_log_noise = nn.Embedding(1, n_features)
        nn.init.zeros_(self.feature_log_noise.weight)

    def noise_std(self):
        """Return the standard deviation of the observation noise, (n_features,)."""
        return self.feature_log_noise.weight[0].clamp_min(_MIN_LOG_NOISE).exp()

    def forward(self, x, y):
        """Encode, draw one latent vector for each sample, and decode it."""
        # The methods of the backbone change tensors in place, which hooks forbid.
        encoder_in, encoder_out = self.backbone.encoder_in, self.backbone.encoder_out
        decoder = self.backbone.decoder
        hidden = _bound(torch.relu(encoder_in.linear(x)))
        mean, log_var = encoder_out(hidden).chunk(2, dim=-1)
        log_var = _bound(log_var, _MAX_LOG_VARIANCE)
        z = _bound(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean))
        x_hat = _bound(decoder.out(_bound(torch.relu(decoder.hidden.linear(z)))))
        log_noise = self.feature_log_noise(torch.zeros_like(y))
        return x_hat, mean, log_var, log_noise.clamp_min(_MIN_LOG_NOISE)


def _bound(values, limit=_MAX_ACTIVATION):
    """Keep values within a limit, beyond which their gradient is 0."""
    return values.clamp(-limit, limit)


class PoissonLoader:
    """Batches that hold each sample with the same probability, independently.

    The size of a batch is random, and may be 0. An epoch has a fixed number of batches.
    `noise` is the source of the choice, or None for torch's global generator. skorch
    passes `batch_size` to all loaders; it is not used.
    """

    def __init__(self, dataset, batch_size, sample_rate, n_batches, noise=None):
        self.dataset = dataset
        self.sample_rate = sample_rate
        self.n_batches = n_batches
        self.noise = noise

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        x, y = self.dataset.x, self.dataset.y
        for _ in range(self.n_batches):
            drawn = self._draw_uniform(len(x), y.device)
            chosen = torch.nonzero(drawn < self.sample_rate).squeeze(1)
            batch = take_samples(x, chosen.to(x.device), y.device)
            yield {"x": batch, "y": y.index_select(0, chosen.to(y.device))}, batch

    def _draw_uniform(self, n_numbers, device):
        """Return numbers in float64, on the device if it has them."""
        device = device if has_float64(device) else CPU
        if self.noise is None:
            return torch.rand(n_numbers, dtype=torch.float64, device=device)
        return torch.from_numpy(self.noise.random(n_numbers)).to(device)


class PrivateNet(TrainingNet):
    """skorch net whose steps clip the gradient of each sample and add noise.

    Clipping is Opacus's ghost clipping: a first backward pass finds the norm of each
    sample's gradient, a second one the sum of the clipped gradients. The sum is divided
    by the constant `batch_size`, not by a number that depends on the samples. The
    history records neither losses nor batch sizes, because they depend on the samples.

    The noise has the standard deviation `noise_multiplier` times `clip_norm`, and comes
    from `noise`, or from torch's global generator for None. `n_steps_` is the number of
    noisy steps of the finished epochs.
    """

    def __init__(
        self, *args, clip_norm=1.0, noise_multiplier=1.0, noise=None, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.clip_norm = clip_norm
        self.noise_multiplier = noise_multiplier
        self.noise = noise

    def initialize_optimizer(self, *args, **kwargs):
        """Attach Opacus to the module and to the optimizer."""
        super().initialize_optimizer(*args, **kwargs)
        self.clipping_ = _make_clipping(self.module_, self.clip_norm)
        self.optimizer_ = _make_optimizer(
            self.noise,
            self.optimizer_,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.clip_norm,
            expected_batch_size=self.batch_size,
            loss_reduction="mean",
        )
        self.optimizer_.attach_step_hook(self._count_step)
        return self

    def _count_step(self, optimizer):
        self._n_started_steps += 1

    def on_train_begin(self, *args, **kwargs):
        """Forget the steps of an earlier training."""
        super().on_train_begin(*args, **kwargs)
        self._n_started_steps = self.n_steps_ = 0

    def on_epoch_end(self, *args, **kwargs):
        """Count the steps of the epoch whose weights are kept."""
        super().on_epoch_end(*args, **kwargs)
        self.n_steps_ = self._n_started_steps

    def on_train_end(self, *args, **kwargs):
        """Leave a plain module."""
        super().on_train_end(*args, **kwargs)
        self.clipping_.cleanup()
        del self.clipping_

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of each sample, as an object whose `backward` clips."""
        reconstruction, kl = self.criterion_.terms(y_pred, y_true)
        tools = import_opacus("utils.fast_gradient_clipping_utils")
        return tools.DPTensorFastGradientClipping(
            self.clipping_,
            self.optimizer_,
            reconstruction + self.criterion_.beta * kl,
            loss_reduction="sum",
        )

    def train_step_single(self, batch, **fit_params):
        """Compute the clipped gradients; those of an empty batch are zero."""
        if len(batch[1]):
            return super().train_step_single(batch, **fit_params)
        for parameter in self.optimizer_.params:
            parameter.grad = torch.zeros_like(parameter)
        return {"loss": None, "y_pred": None}

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch without recording losses."""
        if iterator is None:
            return
        with warnings.catch_warnings():
            # Inputs need no gradient; torch warns about that when hooks are used.
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            for batch in iterator:
                step_fn(batch, **fit_params)
                self._check_weights()

    def _check_weights(self):
        """Raise if weights diverged. They are noisy: the error tells of no sample."""
        largest = [p.detach().abs().max() for p in self.module_.parameters()]
        if not torch.stack(largest).max() <= _MAX_WEIGHT:
            raise FloatingPointError(
                f"The weights diverged in epoch {len(self.history)}. The estimator is "
                "left unfitted. Use a smaller lr."
            )


def _make_clipping(module, clip_norm):
    """Return Opacus's hooks; where a norm overflows, a sample counts for nothing."""
    hooks = import_opacus("grad_sample").GradSampleHooksFastGradientClipping

    class Clipping(hooks):
        def get_clipping_coef(self):
            return super().get_clipping_coef().nan_to_num(nan=0.0)

    return Clipping(module, loss_reduction="sum", max_grad_norm=clip_norm)


def _make_optimizer(noise, *args, **params):
    """Return Opacus's optimizer, with noise of a source other than torch if given."""
    optimizer = import_opacus("optimizers").DPOptimizerFastGradientClipping

    class Optimizer(optimizer):
        def add_noise(self):
            std = self.noise_multiplier * self.max_grad_norm
            for parameter in self.params:
                drawn = torch.from_numpy(noise.standard_normal(parameter.shape))
                parameter.grad = parameter.summed_grad + (std * drawn).to(
                    parameter.dtype
                ).to(parameter.device)

    return (optimizer if noise is None else Optimizer)(*args, **params)


def build_private_net(
    cvae, n_classes, device, noise_multiplier, sample_rate, noise=None
):
    """Return the untrained net of a DPCVAE, whose `n_features_in_` is known.

    `noise` is the source of noise and batches; None is torch's global generator.
    """
    return PrivateNet(
        module=PrivateVAE,
        module__n_features=cvae.n_features_in_,
        module__n_classes=n_classes,
        module__latent_dim=cvae.latent_dim,
        module__hidden_dim=cvae.hidden_dim,
        criterion=NegativeELBO,
        criterion__beta=cvae.beta,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        iterator_train=PoissonLoader,
        iterator_train__sample_rate=sample_rate,
        iterator_train__n_batches=steps_per_epoch(sample_rate),
        iterator_train__noise=noise,
        train_split=None,
        max_epochs=cvae.max_epochs,
        batch_size=cvae.batch_size,
        lr=cvae.lr,
        clip_norm=cvae.clip_norm,
        noise_multiplier=noise_multiplier,
        noise=noise,
        device=str(device),
        verbose=0,
        callbacks=progress_callbacks(cvae.verbose),
        # skorch's own callbacks read the losses.
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        callbacks__print_log=None,
    )


def steps_per_epoch(sample_rate):
    """Return how many batches see each sample once, on average."""
    return max(1, round(1 / sample_rate))
