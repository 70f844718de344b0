"""The networks of the CVAE, its objectives, and the skorch net that trains it."""

import copy
import math

import torch
from torch import nn

from .._class_values import check_class_values
from .._training import TrainingNet, gradient_clipping
from ._net_generator import (
    assemble_net,
    count_batches,
    one_cycle,
    record_terms,
    resolve_max_epochs,
)
from ._row_optimizer import RowAdamW, set_row_gradients, takes_rows

# exp(-4) of the data's scale: features that never vary cannot pull the noise to zero
# and the loss to minus infinity.
_MIN_LOG_NOISE = -4.0
# A sample has e^-1.5 to e^1.5 times the noise of its class, for the same reason.
_MAX_LOG_SCALE = 1.5
# Training beyond this many steps did not raise accuracy on the data of the benchmark.
_AUTO_STEPS = 600
_TERMS = ("reconstruction", "kl")


class LabelledLinear(nn.Module):
    """Linear layer with a bias for each class: (n, in_features) to (n, out_features).

    Equal to a linear layer on the sample and its one-hot label, at a cost that does not
    grow with the number of classes.
    """

    def __init__(self, in_features, out_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.class_bias = nn.Embedding(n_classes, out_features)
        nn.init.zeros_(self.class_bias.weight)

    def forward(self, x, y):
        """Return the layer's output."""
        return self.linear(x).add_(self.class_bias(y))


class SetBias(nn.Module):
    """The sum of the vectors of the labels of each set, in place of an embedding.

    `label_sets` has the shape (n_sets, n_labels) and holds 0 and 1.
    """

    def __init__(self, label_sets, out_features):
        super().__init__()
        self.register_buffer("label_sets", label_sets)
        self.weight = nn.Parameter(torch.zeros(label_sets.shape[1], out_features))

    def forward(self, y):
        """Return the vectors of codes."""
        return self.label_sets[y] @ self.weight


def add_labels(module, label_sets):
    """Replace the vectors of classes in a module by sums of vectors of labels."""
    label_sets = torch.as_tensor(label_sets, dtype=torch.float32)
    for part in list(module.modules()):
        bias = getattr(part, "class_bias", None)
        if isinstance(bias, nn.Embedding):
            part.class_bias = SetBias(label_sets, bias.embedding_dim)
    return module


@torch.no_grad()
def set_labels(module, label_sets, trained_sets):
    """Return a copy of a trained module whose codes are those of other label sets.

    Vectors of classes are taken for those of the one label of each trained set.
    """
    module = copy.deepcopy(module)
    label_sets = torch.as_tensor(label_sets, dtype=torch.float32)
    one_label = torch.as_tensor(trained_sets, dtype=torch.float32)
    for part in module.modules():
        bias = getattr(part, "class_bias", None)
        if bias is None:
            continue
        of_labels = isinstance(bias, SetBias)
        weight = bias.weight if of_labels else one_label.T @ bias.weight
        part.class_bias = nn.Embedding.from_pretrained(label_sets @ weight)
    return module


class ResidualBlock(nn.Module):
    """Two linear layers with batch normalisation beside a shortcut."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(in_features, out_features),
            nn.BatchNorm1d(out_features),
            nn.ReLU(),
            nn.Linear(out_features, out_features),
            nn.BatchNorm1d(out_features),
        )
        self.shortcut = nn.Identity()
        if in_features != out_features:
            self.shortcut = nn.Sequential(
                nn.Linear(in_features, out_features), nn.BatchNorm1d(out_features)
            )

    def forward(self, x):
        """Return the block's output."""
        return self.body(x).add_(self.shortcut(x)).relu_()


class Decoder(nn.Module):
    """Base class: a layer `hidden`, and the rest `out`."""

    def decode(self, z, y):
        """Return the mean of p(x | z, y)."""
        return self.out(self.hidden(z, y).relu_())


class SmallDecoder(Decoder):
    """Decoder with one hidden layer: (n, latent_dim) to (n, n_features)."""

    def __init__(self, n_features, n_classes, latent_dim, hidden_dim=512):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.hidden = LabelledLinear(latent_dim, hidden_dim, n_classes)
        self.out = nn.Linear(hidden_dim, n_features)


class _Backbone(nn.Module):
    """Base class: a layer `encoder_in`, the rest `encoder_out`, and a `decoder`."""

    def encode(self, x, y):
        """Return mean and log-variance of q(z | x, y)."""
        hidden = self.encoder_in(x, y).relu_()
        return self.encoder_out(hidden).chunk(2, dim=-1)

    def decode(self, z, y):
        """Return the mean of p(x | z, y)."""
        return self.decoder.decode(z, y)


class SmallBackbone(_Backbone):
    """Encoder and decoder with one hidden layer each, the thesis's "small" CVAE."""

    def __init__(self, n_features, n_classes, latent_dim, hidden_dim=512):
        super().__init__()
        self.encoder_in = LabelledLinear(n_features, hidden_dim, n_classes)
        self.encoder_out = nn.Linear(hidden_dim, 2 * latent_dim)
        self.decoder = SmallDecoder(n_features, n_classes, latent_dim, hidden_dim)


class LargeDecoder(Decoder):
    """Decoder with three residual blocks: (n, latent_dim) to (n, n_features)."""

    def __init__(self, n_features, n_classes, latent_dim, hidden_dim=512):
        super().__init__()
        self.hidden_dim = hidden_dim
        half = hidden_dim // 2
        self.hidden = LabelledLinear(latent_dim, half, n_classes)
        self.out = nn.Sequential(
            ResidualBlock(half, half),
            ResidualBlock(half, hidden_dim),
            ResidualBlock(hidden_dim, hidden_dim),
            nn.Linear(hidden_dim, n_features),
        )


class LargeBackbone(_Backbone):
    """Three residual blocks in encoder and decoder, the thesis's "large" CVAE."""

    def __init__(self, n_features, n_classes, latent_dim, hidden_dim=512):
        super().__init__()
        half = hidden_dim // 2
        self.encoder_in = LabelledLinear(n_features, hidden_dim, n_classes)
        self.encoder_out = nn.Sequential(
            ResidualBlock(hidden_dim, hidden_dim),
            ResidualBlock(hidden_dim, half),
            ResidualBlock(half, half),
            nn.Linear(half, 2 * latent_dim),
        )
        self.decoder = LargeDecoder(n_features, n_classes, latent_dim, hidden_dim)


class NoiseScale(nn.Module):
    """Log of the factor (n, 1) of a sample's observation noise, from z and class.

    Samples of a class differ in their distance from the surface that the decoder spans.
    With one amount of noise for all, generated samples have too even a distance from
    each other. It is zero at first.
    """

    def __init__(self, n_classes, latent_dim, hidden_dim=64):
        super().__init__()
        self.hidden = LabelledLinear(latent_dim, hidden_dim, n_classes)
        self.out = nn.Linear(hidden_dim, 1)
        self.class_bias = nn.Embedding(n_classes, 1)
        for parameter in (*self.out.parameters(), self.class_bias.weight):
            nn.init.zeros_(parameter)

    def forward(self, z, y):
        """Return the log of the factor."""
        within = self.out(self.hidden(z, y).relu_())
        return self.class_bias(y) + _MAX_LOG_SCALE * torch.tanh(within)


def constant_noise_scale(n_classes, latent_dim):
    """Return a `NoiseScale` that gives every sample the factor 1."""
    with torch.device("meta"):
        scale = NoiseScale(n_classes, latent_dim)
    scale = scale.to_empty(device="cpu")
    for parameter in scale.parameters():
        nn.init.zeros_(parameter)
    return scale


BACKBONES = {"small": SmallBackbone, "large": LargeBackbone}
DECODERS: dict[str, type[nn.Module]] = {"small": SmallDecoder, "large": LargeDecoder}


class ConditionalVAE(nn.Module):
    """Conditional variational autoencoder with a learned observation noise.

    The noise has a standard deviation per feature and a factor per sample, which
    depends on its class and latent vector. With ``bounded=True`` the output passes
    through a sigmoid, as in the reference code. Returns `x_hat` (n,
    n_features), `mean` and `log_var` (n, latent_dim), and `log_noise` (n, n_features).
    """

    def __init__(
        self,
        backbone,
        n_features,
        n_classes,
        latent_dim,
        bounded=False,
        label_sets=None,
        **kwargs,
    ):
        super().__init__()
        self.backbone = backbone(n_features, n_classes, latent_dim, **kwargs)
        self.bounded = bounded
        self.feature_log_noise = nn.Parameter(torch.zeros(n_features))
        self.noise_scale = NoiseScale(n_classes, latent_dim)
        if label_sets is not None:
            add_labels(self, label_sets)

    def encode(self, x, y):
        """Return mean and log-variance of q(z | x, y)."""
        return self.backbone.encode(x, y)

    def decode(self, z, y):
        """Return the mean of p(x | z, y)."""
        x_hat = self.backbone.decode(z, y)
        return torch.sigmoid(x_hat) if self.bounded else x_hat

    def decoder(self):
        """Return the smallest module that has `decode`: without the encoder, if so."""
        decoder = getattr(self.backbone, "decoder", None)
        separate = isinstance(decoder, Decoder) and not self.bounded
        return decoder if separate else self

    def feature_std(self):
        """Return the standard deviation of the noise per feature, (n_features,)."""
        return self.feature_log_noise.clamp_min(_MIN_LOG_NOISE).exp()

    def log_noise(self, z, y):
        """Return the log standard deviation of the observation noise."""
        feature_log_noise = self.feature_log_noise.clamp_min(_MIN_LOG_NOISE)
        return feature_log_noise + self.noise_scale(z, y)

    def forward(self, x, y):
        """Encode, draw one latent vector for each sample, and decode it."""
        mean, log_var = self.encode(x, y)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decode(z, y), mean, log_var, self.log_noise(z, y)


class Unlabelled(nn.Module):
    """A network of one class, to which all samples belong, whatever their label."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def encode(self, x, y):
        """Return mean and log-variance of q(z | x)."""
        return self.network.encode(x, torch.zeros_like(y))

    def decode(self, z, y):
        """Return the mean of p(x | z)."""
        return self.network.decode(z, torch.zeros_like(y))

    def forward(self, z, y):
        """Return the network's output."""
        return self.network(z, torch.zeros_like(y))


class UnconditionalVAE(ConditionalVAE):
    """Variational autoencoder whose networks take labels and do not look at them.

    **Shape**: as :class:`ConditionalVAE`
    """

    def __init__(
        self, backbone, n_features, n_classes, latent_dim, bounded=False, **kwargs
    ):
        super().__init__(backbone, n_features, 1, latent_dim, bounded, **kwargs)
        self.backbone = Unlabelled(self.backbone)
        self.noise_scale = Unlabelled(self.noise_scale)


def kl_to_standard_normal(mean, log_var):
    r"""Return KL(N(mean, exp(log_var)) || N(0, I)) of each sample, in nats.

    :math:`\tfrac12 \sum_j (\sigma_j^2 + \mu_j^2 - 1 - \log \sigma_j^2)`; shape (n,).
    """
    return 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(dim=1)


class _Surprise(torch.autograd.Function):
    """Negative log-density of samples under N(x_hat, exp(2 log_noise)), shape (n,).

    It holds fewer arrays of the shape (n, n_features) than automatic differentiation,
    and returns the same gradients, in half the time.
    """

    @staticmethod
    def forward(ctx, x, x_hat, log_noise):
        inverse = torch.neg(log_noise).exp_()
        difference = x - x_hat
        error = difference * inverse
        ctx.save_for_backward(difference, inverse, error)
        constant = 0.5 * math.log(2 * math.pi) * x.shape[1]
        return 0.5 * error.square().sum(dim=1) + log_noise.sum(dim=1) + constant

    @staticmethod
    def backward(ctx, gradient):
        difference, inverse, error = ctx.saved_tensors
        gradient = gradient[:, None]
        scaled = error * gradient
        of_noise = gradient - (scaled * difference).mul_(inverse)
        return None, scaled.mul_(inverse).neg_(), of_noise


class NegativeELBO(nn.Module):
    r"""Negative evidence lower bound with a Gaussian likelihood of learned noise.

    .. math::
        -\log N(x; \hat x, \operatorname{diag}(\sigma^2)) +
        \beta \, \mathrm{KL}(q(z \mid x, y) \,\|\, N(0, I)),

    averaged over the samples, in nats. With a learned :math:`\sigma`, the weight
    :math:`\beta = 1` is the natural scale (Kingma and Welling, arXiv 1312.6114; Rybkin
    et al., arXiv 2006.13202). `class_weight`, of shape (n_classes,), weights the
    reconstruction of the samples of each class while the net is trained.
    """

    def __init__(self, beta=1.0, class_weight=None):
        super().__init__()
        self.beta = beta
        if class_weight is not None:
            class_weight = torch.as_tensor(class_weight, dtype=torch.float32)
        self.register_buffer("class_weight", class_weight)

    def terms(self, outputs, x):
        """Return reconstruction and KL term of each sample, shape (n,) each."""
        x_hat, mean, log_var, log_noise = outputs
        surprise = _Surprise.apply(x, x_hat, log_noise)
        return surprise, kl_to_standard_normal(mean, log_var)

    def forward(self, outputs, x):
        """Return the mean loss of a batch."""
        reconstruction, kl = self.terms(outputs, x)
        return (reconstruction + self.beta * kl).mean()


class ReferenceLoss(NegativeELBO):
    r"""Loss of the reference programs: squared error plus a mis-scaled KL term.

    .. math::
        \|x - \hat x\|^2 +
        \beta \sum_j (\sigma_j^2 + \mu_j^2 - \log \sigma_j - \tfrac12)

    The second term is :math:`\mathrm{KL}(q \,\|\, N(0, \tfrac12 I)) + \tfrac12 \log 2`
    per dimension: the encoder is drawn to the variance one half, while sampling takes
    latents of variance one.
    """

    def terms(self, outputs, x):
        """Return reconstruction and KL term of each sample, shape (n,) each."""
        x_hat, mean, log_var, _ = outputs
        kl = (log_var.exp() + mean**2 - 0.5 * log_var - 0.5).sum(dim=1)
        return ((x - x_hat) ** 2).sum(dim=1), kl


OBJECTIVES = {"elbo": NegativeELBO, "reference": ReferenceLoss}


class CVAENet(TrainingNet):
    """skorch net that records reconstruction and KL beside the loss.

    `unit` is that of its samples, in scaled features.
    """

    unit = 1.0

    def initialize_optimizer(self, *args, **kwargs):
        """Make the optimizer; its steps do not cost more with many classes."""
        super().initialize_optimizer(*args, **kwargs)
        if takes_rows(self.optimizer_):
            set_row_gradients(self.module_, True)
        return self

    def release_training_state(self):
        """Keep only what sampling needs, on the CPU."""
        super().release_training_state()
        set_row_gradients(self.module_, False)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the loss of a batch."""
        reconstruction, kl = self.criterion_.terms(y_pred, y_true)
        weight = getattr(self.criterion_, "class_weight", None)
        weighted = reconstruction
        if training and weight is not None:
            weighted = reconstruction * weight[X["y"]]
        prefix = "train" if training else "valid"
        for name, term in zip(_TERMS, (reconstruction, kl), strict=True):
            self.history.record_batch(f"{prefix}_{name}", term.detach().mean())
        return weighted.mean() + self.criterion_.beta * kl.mean()


def build_net(cvae, n_samples, n_classes, device, label_sets=None):
    """Return the untrained net of a CVAE; its `net_params` win."""
    _check_class_weight(cvae, n_classes, label_sets)
    _check_module_params(cvae)
    named = isinstance(cvae.architecture, str)
    params = {
        "module": cvae._module,
        "module__backbone": BACKBONES[cvae.architecture]
        if named
        else cvae.architecture,
        "module__n_features": cvae.n_features_in_,
        "module__n_classes": n_classes,
        "module__latent_dim": cvae.latent_dim,
        "module__bounded": cvae.objective == "reference",
        "criterion": OBJECTIVES[cvae.objective],
        "criterion__beta": cvae.beta,
        "optimizer": RowAdamW,
    }
    if label_sets is not None:
        params["module__label_sets"] = label_sets
    if named:
        params["module__hidden_dim"] = cvae.hidden_dim_
    if "optimizer" not in (cvae.net_params or {}):
        params.update(optimizer__fused=True, optimizer__weight_decay=0.01)
    max_epochs = cvae._chosen_epochs or count_epochs(cvae, n_samples)
    callbacks = _callbacks(cvae, count_batches(cvae, n_samples) * max_epochs)
    return assemble_net(CVAENet, cvae, params, callbacks, max_epochs, device)


def count_epochs(cvae, n_samples):
    """Return the number of epochs that `max_epochs` of a CVAE stands for."""
    return resolve_max_epochs(cvae, n_samples, _AUTO_STEPS)


def _check_module_params(cvae):
    """Refuse a width without a half, and bounds without a scaling to them."""
    if cvae.architecture == "large" and cvae.hidden_dim_ < 2:
        raise ValueError("architecture='large' needs a hidden_dim of at least 2.")
    bounded = (cvae.net_params or {}).get("module__bounded", False)
    if bounded and cvae.objective != "reference":
        raise ValueError("net_params['module__bounded'] is for objective='reference'.")


def _check_class_weight(cvae, n_classes, label_sets):
    """Refuse class weights of the loss that are not one positive number a class."""
    weight = (cvae.net_params or {}).get("criterion__class_weight")
    if weight is None:
        return
    if label_sets is not None:
        raise ValueError(
            "net_params['criterion__class_weight'] is for classes: with several labels "
            "for each sample, leave it out."
        )
    check_class_values(weight, n_classes, "net_params['criterion__class_weight']")


def _callbacks(cvae, n_steps):
    terms = [f"{name}_{t}" for name in ("train", "valid") for t in _TERMS]
    callbacks = record_terms(*terms)
    if cvae.objective == "elbo":
        callbacks += [one_cycle(cvae, n_steps), gradient_clipping()]
    return callbacks
