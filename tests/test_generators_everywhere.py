"""Every generator in every estimator that takes one."""

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skcvae.anonymization import GenerativeAnonymizer
from skcvae.datasets import make_long_tailed
from skcvae.generators import CGAN, CVAE, VAE, ClassGaussian, FlowMatching
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import (
    GenerativeOverSampler,
    HardOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
)
from skcvae.privacy import latent_search_attack

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*did not converge"),
]
FAST = {"max_epochs": 3, "device": "cpu", "random_state": 0}
GENERATORS = {
    "gaussian": ClassGaussian(random_state=0),
    "full": ClassGaussian(covariance_type="full", random_state=0),
    "cvae": CVAE(**FAST),
    "vae": VAE(**FAST),
    "cgan": CGAN(**FAST),
    "flow": FlowMatching(**FAST),
}


@pytest.fixture(scope="module")
def rows():
    """Three classes of 60, 24 and 12 rows."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = make_long_tailed(X[:180], y[:180], imbalance_ratio=5, random_state=0)
    return X.astype(np.float32), y


@pytest.fixture(params=GENERATORS)
def generator(request):
    return clone(GENERATORS[request.param])


def samplers(generator):
    plain = GenerativeOverSampler(generator, random_state=0)
    return [
        plain,
        QualityFilter(plain, quantile=0.2, random_state=0),
        ProgressiveOverSampler([("first", plain), ("last", plain)], random_state=0),
        HardOverSampler(generator, LogisticRegression(max_iter=500), random_state=0),
    ]


def test_in_every_over_sampler(generator, rows):
    X, y = rows
    for sampler in samplers(generator):
        X_resampled, y_resampled = sampler.fit_resample(X, y)
        assert np.bincount(y_resampled).tolist() == [max(np.bincount(y))] * 3
        np.testing.assert_array_equal(X_resampled[: len(X)], X)
        assert np.isfinite(X_resampled).all()
        pipeline = make_pipeline(sampler, LogisticRegression(max_iter=500))
        assert pipeline.fit(X, y).score(X, y) > 0.8


def test_in_the_anonymizer(generator, rows):
    X, y = rows
    released = GenerativeAnonymizer(generator, random_state=0).fit_transform(X, y)
    assert released.shape == X.shape
    assert np.isfinite(released).all()
    assert not {row.tobytes() for row in released} & {row.tobytes() for row in X}


def test_in_the_classifier(generator, rows):
    classifier = LongTailClassifier(
        generator, max_epochs=60, lr=0.02, device="cpu", random_state=0
    )
    assert classifier.fit(*rows).score(*rows) > 0.9


def test_attacked_through_its_decoder(generator, rows):
    X, y = rows
    fitted = generator.fit(X[::2], y[::2])
    sets = X[::2][:20], y[::2][:20], X[1::2][:20], y[1::2][:20]
    result = latent_search_attack(fitted, *sets, n_steps=5)
    assert 0 <= result.auc.value <= 1
