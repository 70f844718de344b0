"""The samplers that a file can hold: what describes one, and one made of that."""

from math import prod

import torch

from ._conv_backbone import check_image_shape, check_width
from ._conv_net import ConvDecoder
from ._cvae_net import DECODERS, Decoder, NoiseScale
from ._samplers import (
    ClassCovarianceSampler,
    Coloured,
    CVAESampler,
    GaussianSampler,
    ObservationNoise,
)

# No normal value that torch draws in float32 is as large.
_MAX_NORMAL = 10.0
#: Architectures of a decoder that each kind of sampler may have in a release.
ARCHITECTURES = {
    "gaussian": {None},
    "gaussian-full": {None},
    "cvae": {*DECODERS, "conv"},
}


def can_be_released(sampler):
    """Tell whether the manifest of a release can describe a sampler."""
    if isinstance(sampler, ClassCovarianceSampler):
        return sampler.rest is None
    return isinstance(sampler, GaussianSampler) or (
        isinstance(sampler, CVAESampler) and isinstance(sampler.decoder, Decoder)
    )


def densify(sampler):
    """Turn what a sampler draws noise with into the tensor that a file holds."""
    for part in sampler.modules():
        if isinstance(part, Coloured):
            part.densify()


def describe_sampler(sampler):
    """Return the entries of the manifest that say what kind of sampler it is."""
    sizes = {"latent_dim": sampler.latent_dim, "noise": sampler.noise is not None}
    if isinstance(sampler, GaussianSampler):
        return {"kind": "gaussian", "architecture": None, "hidden_dim": 1, **sizes}
    if isinstance(sampler, ClassCovarianceSampler):
        rank = sampler.factor.shape[1]
        kind = {"kind": "gaussian-full", "architecture": None, "hidden_dim": rank}
        return {**kind, **sizes}
    decoder = sampler.decoder
    if isinstance(decoder, ConvDecoder):
        kind = {"kind": "cvae", "architecture": "conv", "hidden_dim": decoder.width}
        return {**kind, **sizes, "image_shape": list(decoder.image_shape)}
    name = {kind: name for name, kind in DECODERS.items()}[type(decoder)]
    return {
        "kind": "cvae",
        "architecture": name,
        "hidden_dim": decoder.hidden_dim,
        **sizes,
    }


def check_images(manifest):
    """Refuse an image shape, a type or a width that no convolutional decoder has."""
    shape = manifest["image_shape"]
    if not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise ValueError("image_shape must be a list of integers")
    if prod(check_image_shape(shape)) != manifest["n_features"]:
        raise ValueError("image_shape has another size than n_features")
    if manifest["dtype"] not in ("float32", "uint8"):
        raise ValueError("dtype must be 'float32' or 'uint8'")
    check_width(manifest["hidden_dim"])
    if manifest["noise"]:
        raise ValueError("the architecture 'conv' has no noise")


def build_sampler(manifest):
    """Return the module that a manifest describes, with weights still to be set.

    Nothing is allocated: where the sizes come from a file, they are not to be trusted.
    """
    with torch.device("meta"):
        return _build_sampler(manifest)


@torch.inference_mode()
def bound_draws(manifest, tensors):
    """Return an upper bound of absolute values that a release draws, (n_features,).

    With the absolute values of all weights, and the largest of all classes, a layer
    returns at least the largest value that it can take. The bound is not finite if any
    layer might overflow float32.
    """
    sampler = build_sampler({**manifest, "n_classes": 1})
    state = {}
    for name, like in sampler.state_dict().items():
        value = tensors[f"sampler.{name}"]
        if name == "noise.scale.class_bias.weight":
            # A logarithm: the largest factor has the largest value, which keeps its
            # sign.
            value = value.amax(0, keepdim=True)
        elif value.is_floating_point():
            value = value.abs()
        if value.shape != like.shape:
            value = value.amax(0, keepdim=True)
        # Subtracted, and divided by a root: the largest result has these signs.
        state[name] = -value if name.endswith("running_mean") else value
    sampler.load_state_dict(state, assign=True)
    std = tensors["variance"].max().sqrt()
    drawn = _bound_scaled(sampler.eval(), _MAX_NORMAL * std)
    return tensors["centres"].abs().amax(0) + drawn[0] * tensors["scale"]


def _bound_scaled(sampler, e):
    """Return a bound of scaled samples for standard normal values of at most e."""
    code = torch.zeros(1, dtype=torch.int64)
    e = e.expand(1, sampler.latent_dim)
    if not isinstance(sampler, CVAESampler):
        return sampler.decode(e, code)
    z = sampler._latents(e, code)
    drawn = sampler.decoder.decode(z, code)
    if isinstance(sampler.decoder, ConvDecoder):
        # NaN where the layers before the sigmoid overflow.
        return drawn + 0 * sampler.decoder.logits(z, code)
    if sampler.noise is None:
        return drawn
    factor, scale = sampler.noise.factor, sampler.noise.scale
    within = scale.out(scale.hidden(z, code).relu_())
    # NaN where the layers before the hyperbolic tangent overflow.
    log_scale = scale(z, code) + 0 * within
    return drawn + _MAX_NORMAL * factor.sum(dim=1) * log_scale.exp()


def _build_sampler(manifest):
    n_classes, n_features = manifest["n_classes"], manifest["n_features"]
    latent_dim = manifest["latent_dim"]
    if manifest["kind"] == "gaussian":
        return GaussianSampler(torch.empty(n_features, latent_dim))
    if manifest["kind"] == "gaussian-full":
        rank = manifest["hidden_dim"]
        return ClassCovarianceSampler(
            torch.empty(n_classes, rank, rank), torch.empty(n_features, n_features)
        )
    architecture, hidden_dim = manifest["architecture"], manifest["hidden_dim"]
    if architecture == "conv":
        shape = tuple(manifest["image_shape"])
        decoder = ConvDecoder(shape, hidden_dim, n_classes, latent_dim)
    else:
        kind = DECODERS[architecture]
        decoder = kind(n_features, n_classes, latent_dim, hidden_dim)
    noise = None
    if manifest["noise"]:
        factor = torch.empty(n_features, n_features)
        noise = ObservationNoise(factor, NoiseScale(n_classes, latent_dim))
    return CVAESampler(
        decoder,
        torch.empty(n_classes, latent_dim),
        torch.empty(n_classes, latent_dim, latent_dim),
        noise,
    )
