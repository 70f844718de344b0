"""Draws of old seeds, bit for bit: a guard of the move to the new layout."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from skcvae.anonymization import CVAEAnonymizer, GenerativeAnonymizer, KSameAnonymizer
from skcvae.datasets import make_long_tailed
from skcvae.generators import (
    CGAN,
    CVAE,
    DPCVAE,
    VAE,
    ClassGaussian,
    DPClassGaussian,
    FlowMatching,
)
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HardOverSampler,
    HeadTailFusionSampler,
    LatentVariationOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
    RemixSampler,
)

pytestmark = pytest.mark.filterwarnings("ignore")
FAST = {"max_epochs": 3, "device": "cpu", "random_state": 0}
CASES = {
    "gaussian": ClassGaussian(random_state=0),
    "full": ClassGaussian(covariance_type="full", random_state=1),
    "cvae": CVAE(**FAST),
    "cvae standard": CVAE(prior="standard", noise=None, variance=0.5, **FAST),
    "cvae reference": CVAE(objective="reference", **FAST),
    "vae": VAE(**FAST),
    "cgan": CGAN(**FAST),
    "flow": FlowMatching(**FAST),
    "dp gaussian": DPClassGaussian(random_state=0),
    "dp cvae": DPCVAE(max_epochs=1, device="cpu", random_state=0),
    "cvae sampler": CVAEOverSampler(**FAST),
    "gaussian sampler": GenerativeOverSampler(random_state=0),
    "flow sampler": GenerativeOverSampler(
        FlowMatching(max_epochs=2, device="cpu"), random_state=5
    ),
    "hard": HardOverSampler(random_state=0),
    "hard cvae": HardOverSampler(CVAE(max_epochs=2, device="cpu"), random_state=0),
    "variation": LatentVariationOverSampler(
        CVAE(max_epochs=2, device="cpu"), random_state=0
    ),
    "remix": RemixSampler(random_state=0),
    "fusion": HeadTailFusionSampler(
        n_groups=4,
        group_size=2,
        n_generations=1,
        imitation_steps=2,
        interaction_steps=4,
        device="cpu",
        random_state=0,
        net_params={"module__hidden_dim": 16},
    ),
    "filter": QualityFilter(quantile=0.5, random_state=0),
    "filter distance": QualityFilter(
        GenerativeOverSampler(), min_distance=("quantile", 0.1), random_state=0
    ),
    "progressive": ProgressiveOverSampler(
        [("remix", RemixSampler()), ("gaussian", GenerativeOverSampler())],
        limits={"remix": 1},
        random_state=0,
    ),
    "cvae anonymizer": CVAEAnonymizer(**FAST),
    "anonymizer": GenerativeAnonymizer(random_state=0),
    "anonymizer floor": GenerativeAnonymizer(
        min_distance=("quantile", 0.2), random_state=0
    ),
    "k-same": KSameAnonymizer(k=3),
    "classifier": LongTailClassifier(max_epochs=10, device="cpu", random_state=0),
    "classifier cvae": LongTailClassifier(
        CVAE(max_epochs=2, device="cpu"),
        max_epochs=3,
        device="cpu",
        random_state=0,
        loss="ldam",
        remix=True,
    ),
}
FILE = Path(os.environ.get("SKCVAE_DRAWS", Path(__file__).with_suffix(".json")))


def data():
    X, y = load_digits(n_class=4, return_X_y=True)
    return make_long_tailed(X[:400], y[:400], imbalance_ratio=8, random_state=0)


def digest(estimator):
    X, y = data()
    estimator = clone(estimator)
    if hasattr(estimator, "fit_resample"):
        arrays = estimator.fit_resample(X, y)
    elif hasattr(estimator, "predict_proba"):
        arrays = (estimator.fit(X, y).predict_proba(X),)
    elif hasattr(estimator, "fit_transform"):
        arrays = (estimator.fit_transform(X, y),)
        if hasattr(estimator, "batches"):
            arrays += next(estimator.batches(40))
    else:
        estimator.fit(X, y)
        arrays = (*estimator.sample(50), *estimator.sample(y=[3, 0, 0, 1, 2]))
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:16]


@pytest.mark.parametrize("name", CASES)
def test_draws_are_those_of_before(name):
    assert digest(CASES[name]) == json.loads(FILE.read_text())[name]


if __name__ == "__main__":
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    FILE.write_text(json.dumps({n: digest(e) for n, e in CASES.items()}, indent=1))
