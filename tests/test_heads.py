"""What every public head of LongTailClassifier does."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skcvae import long_tail
from skcvae.long_tail import _heads

HEADS = [getattr(long_tail, name) for name in long_tail.__all__ if "Head" in name]
each_head = pytest.mark.parametrize("head", HEADS)
pytestmark = pytest.mark.usefixtures("torch_seed")


@each_head
@pytest.mark.parametrize("n_samples", [1, 7])
def test_logits_and_gradients_are_finite(head, n_samples):
    module = head(5, 3)
    X = torch.randn(n_samples, 5)
    X[0] = 0
    X.requires_grad_()
    logits = module(X)
    assert logits.shape == (n_samples, 3)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    gradients = [weight.grad for weight in module.parameters()]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert torch.isfinite(X.grad).all()


@each_head
def test_pickle_and_state_dict_keep_the_logits(head):
    X = torch.randn(7, 5)
    module = head(5, 3).eval()
    expected = module(X)
    assert torch.equal(pickle.loads(pickle.dumps(module))(X), expected)
    other = head(5, 3).eval()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(X), expected)


@each_head
def test_samples_do_not_depend_on_one_another(head):
    X = torch.randn(7, 5)
    module = head(5, 3).eval()
    torch.testing.assert_close(module(X)[2:3], module(X[2:3]))


def test_predictions_do_not_depend_on_the_blocks(monkeypatch):
    X, y = load_digits(return_X_y=True)
    classifier = long_tail.LongTailClassifier(device="cpu", random_state=0)
    classifier.fit(X[:300], y[:300])
    expected = classifier.predict(X), classifier.predict_proba(X)
    monkeypatch.setattr(_heads, "_BLOCK_NUMBERS", 70)
    np.testing.assert_array_equal(classifier.predict(X), expected[0])
    np.testing.assert_allclose(classifier.predict_proba(X), expected[1], atol=1e-6)
