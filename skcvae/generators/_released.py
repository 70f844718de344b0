"""The samplers that a file can hold: what describes one, and one made of that."""

import torch

from ._cvae_net import DECODERS, NoiseScale
from ._samplers import (
    ClassCovarianceSampler,
    CVAESampler,
    GaussianSampler,
    ObservationNoise,
)

#: Architectures of a decoder that each kind of sampler may have in a release.
ARCHITECTURES = {"gaussian": {None}, "gaussian-full": {None}, "cvae": set(DECODERS)}


def can_be_released(sampler):
    """Tell whether the manifest of a release can describe a sampler."""
    return isinstance(sampler, GaussianSampler | ClassCovarianceSampler) or (
        isinstance(sampler, CVAESampler)
        and isinstance(sampler.decoder, tuple(DECODERS.values()))
    )


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
    name = {kind: name for name, kind in DECODERS.items()}[type(decoder)]
    return {
        "kind": "cvae",
        "architecture": name,
        "hidden_dim": decoder.hidden_dim,
        **sizes,
    }


def build_sampler(manifest):
    """Return the module that a manifest describes, with weights still to be set.

    Nothing is allocated: where the sizes come from a file, they are not to be trusted.
    """
    with torch.device("meta"):
        return _build_sampler(manifest)


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
    decoder = DECODERS[manifest["architecture"]](
        n_features, n_classes, latent_dim, manifest["hidden_dim"]
    )
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
