"""The networks: class labels, shapes, sizes, and architectures of one's own."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn.functional import one_hot

from skcvae.generators import CVAE
from skcvae.generators._cvae_net import (
    BACKBONES,
    ConditionalVAE,
    LabelledLinear,
    NoiseScale,
    constant_noise_scale,
)

pytestmark = pytest.mark.usefixtures("torch_seed")


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_labelled_linear_is_a_linear_layer_on_the_row_and_its_one_hot_label():
    layer = LabelledLinear(5, 3, n_classes=4)
    nn.init.normal_(layer.class_bias.weight)
    joint = nn.Linear(5 + 4, 3)
    with torch.no_grad():
        weights = [layer.linear.weight, layer.class_bias.weight.T]
        joint.weight.copy_(torch.cat(weights, dim=1))
        joint.bias.copy_(layer.linear.bias)
    x, y = torch.randn(10, 5), torch.arange(10) % 4
    expected = joint(torch.cat([x, one_hot(y, 4).float()], dim=1))
    torch.testing.assert_close(layer(x, y), expected)


def test_labelled_linear_has_the_gradients_of_the_one_hot_layer():
    layer = LabelledLinear(2, 3, n_classes=4)
    x, y = torch.ones(6, 2), torch.tensor([0, 0, 0, 1, 1, 3])
    layer(x, y).sum().backward()
    counts = torch.tensor([3.0, 2.0, 0.0, 1.0])[:, None].expand(4, 3)
    torch.testing.assert_close(layer.class_bias.weight.grad, counts)
    torch.testing.assert_close(layer.linear.weight.grad, torch.full((3, 2), 6.0))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 2), (5, 100, 20)])
def test_backbones_map_rows_to_latents_and_back(name, shape):
    n_features, n_classes, latent_dim = shape
    backbone = BACKBONES[name](n_features, n_classes, latent_dim, hidden_dim=8)
    x, y = torch.randn(6, n_features), torch.arange(6) % n_classes
    mean, log_var = backbone.encode(x, y)
    assert mean.shape == log_var.shape == (6, latent_dim)
    assert backbone.decode(mean, y).shape == (6, n_features)


@pytest.mark.parametrize("name", BACKBONES)
def test_outputs_of_backbones_depend_on_the_class_once_it_is_learned(name):
    backbone = BACKBONES[name](4, 2, 3, hidden_dim=16).eval()
    x, z = torch.randn(1, 4), torch.randn(1, 3)
    zero, one = torch.tensor([0]), torch.tensor([1])

    def difference():
        encoded = backbone.encode(x, zero)[0] - backbone.encode(x, one)[0]
        decoded = backbone.decode(z, zero) - backbone.decode(z, one)
        return encoded.abs().max().item(), decoded.abs().max().item()

    with torch.no_grad():
        assert difference() == (0, 0)
        for layer in backbone.modules():
            if isinstance(layer, nn.Embedding):
                nn.init.normal_(layer.weight)
        assert min(difference()) > 0


@pytest.mark.parametrize(("name", "size"), [("small", 1e6), ("large", 3e6)])
def test_sizes_are_about_those_of_the_thesis(name, size):
    vae = ConditionalVAE(BACKBONES[name], 768, 100, 100)
    assert n_parameters(vae) == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("name", BACKBONES)
def test_width_is_a_parameter(name):
    narrow, wide = (BACKBONES[name](6, 2, 2, hidden_dim=h) for h in (8, 64))
    assert n_parameters(narrow) < n_parameters(wide)


def test_forward_returns_what_the_objectives_take():
    vae = ConditionalVAE(BACKBONES["small"], 5, 3, 2, hidden_dim=8)
    x, y = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    x_hat, mean, log_var, log_noise = vae(x, y)
    assert x_hat.shape == log_noise.shape == (4, 5)
    assert mean.shape == log_var.shape == (4, 2)


def test_bounded_output_lies_between_zero_and_one():
    vae = ConditionalVAE(BACKBONES["small"], 5, 3, 2, bounded=True, hidden_dim=8)
    decoded = vae.decode(100 * torch.randn(50, 2), torch.zeros(50, dtype=torch.long))
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert decoded.std() > 0


def test_noise_is_the_product_of_a_feature_and_a_class_factor_at_first():
    vae = ConditionalVAE(BACKBONES["small"], 3, 2, 2, hidden_dim=8)
    with torch.no_grad():
        vae.feature_log_noise.copy_(torch.tensor([0.0, 0.5, -50.0]))
        vae.noise_scale.class_bias.weight.copy_(torch.tensor([[0.0], [1.0]]))
    log_noise = vae.log_noise(torch.randn(2, 2), torch.tensor([0, 1]))
    expected = torch.tensor([[0.0, 0.5, -4.0], [1.0, 1.5, -3.0]])
    torch.testing.assert_close(log_noise, expected)


def test_noise_of_a_row_is_bounded_and_depends_on_its_latent_vector():
    scale = NoiseScale(2, 3)
    with torch.no_grad():
        scale.out.weight.normal_(std=100)
    log_scale = scale(torch.randn(500, 3), torch.zeros(500, dtype=torch.long))
    assert log_scale.shape == (500, 1)
    assert log_scale.std() > 0.1
    assert log_scale.abs().max() <= 1.5


def test_constant_noise_scale_is_one_and_draws_no_random_numbers():
    state = torch.get_rng_state()
    scale = constant_noise_scale(2, 3)
    assert torch.equal(torch.get_rng_state(), state)
    codes = torch.zeros(5, dtype=torch.long)
    assert torch.equal(scale(torch.full((5, 3), 7.0), codes), torch.zeros(5, 1))
    assert scale.state_dict().keys() == NoiseScale(2, 3).state_dict().keys()


class LinearBackbone(nn.Module):
    """A linear model without labels: its CVAE is probabilistic PCA."""

    def __init__(self, n_features, n_classes, latent_dim):
        super().__init__()
        self.encoder_mean = nn.Linear(n_features, latent_dim)
        self.encoder_log_var = nn.Linear(n_features, latent_dim)
        self.decoder = nn.Linear(latent_dim, n_features)

    def encode(self, x, y):
        return self.encoder_mean(x), self.encoder_log_var(x)

    def decode(self, z, y):
        return self.decoder(z)


class FixedBackbone(nn.Module):
    """Encodes every row as N(2, 9) and decodes a latent as itself."""

    def __init__(self, n_features, n_classes, latent_dim):
        super().__init__()
        self.shape = (latent_dim,)

    def encode(self, x, y):
        ones = torch.ones(len(x), *self.shape)
        return 2 * ones, ones * np.log(9)

    def decode(self, z, y):
        return z


def test_forward_draws_latents_from_the_posterior():
    vae = ConditionalVAE(FixedBackbone, 2, 1, 2)
    drawn, *_ = vae(torch.zeros(50_000, 2), torch.zeros(50_000, dtype=torch.long))
    torch.testing.assert_close(
        drawn.mean(dim=0), torch.full((2,), 2.0), rtol=0.05, atol=0
    )
    torch.testing.assert_close(
        drawn.std(dim=0), torch.full((2,), 3.0), rtol=0.05, atol=0
    )


def principal_rows():
    """Return rows with two strong directions, and a single class."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 6)) * 3
    return X + 0.5 * rng.normal(size=X.shape), np.zeros(600, dtype=int)


def linear_backbone(n_features, n_classes, latent_dim):
    return LinearBackbone(n_features, n_classes, latent_dim)


@pytest.mark.parametrize("architecture", [LinearBackbone, linear_backbone])
def test_architecture_may_be_a_factory(architecture):
    X, y = principal_rows()
    generator = CVAE(
        latent_dim=2,
        architecture=architecture,
        max_epochs=60,
        batch_size=64,
        lr=2e-2,
        device="cpu",
        random_state=0,
    ).fit(X, y)
    assert isinstance(generator.net_.module_.backbone, LinearBackbone)
    residual = X - generator.reconstruct(X, y)
    residual -= residual.mean(axis=0)
    pca = PCA(2).fit(X)
    best = ((X - pca.inverse_transform(pca.transform(X))) ** 2).mean()
    assert best <= (residual**2).mean() < 1.1 * best
    axes = np.linalg.qr(
        generator.net_.module_.backbone.decoder.weight.detach().numpy()
    )[0]
    cosines = np.linalg.svd(axes.T @ pca.components_.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=0.01)
