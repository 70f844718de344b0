"""Warnings name the line of the user, through whatever composition they come."""

import re
import warnings

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skcvae.anonymization import GenerativeAnonymizer, KSameAnonymizer
from skcvae.generators import CVAE, ClassGaussian, DPClassGaussian
from skcvae.long_tail import LongTailClassifier, PriorCorrectedClassifier
from skcvae.over_sampling import (
    CVAEOverSampler,
    GenerativeOverSampler,
    HardOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
)

FAST = {"max_epochs": 1, "device": "cpu", "random_state": 0}
rng = np.random.RandomState(0)
X = rng.normal(size=(60, 4)) * [1e9, 1, 1, 1]
X[:3] = 0
y = np.repeat([0, 1], [40, 20])
MODELS = {
    "generator": ClassGaussian(),
    "net": CVAE(**FAST),
    "private": DPClassGaussian(epsilon=1.0),
    "sampler": GenerativeOverSampler(),
    "sampler of a net": CVAEOverSampler(**FAST),
    "hard": HardOverSampler(),
    "filter": QualityFilter(GenerativeOverSampler(), quantile=0.1),
    "progressive": ProgressiveOverSampler([("only", GenerativeOverSampler())]),
    "anonymizer": GenerativeAnonymizer(),
    "classifier": LongTailClassifier(**FAST),
    "pipeline": make_pipeline(GenerativeOverSampler(), LogisticRegression()),
    "corrected": PriorCorrectedClassifier(
        make_pipeline(GenerativeOverSampler(), LogisticRegression())
    ),
    "search": GridSearchCV(
        make_pipeline(GenerativeOverSampler(ClassGaussian()), LogisticRegression()),
        {"generativeoversampler__generator__variance": [1.0]},
        cv=2,
    ),
}


LAZY = {("filter", "fit"), ("progressive", "fit")}
METHODS = [
    (name, method)
    for name, model in MODELS.items()
    for method in ("fit", "fit_resample", "fit_transform")
    # These two train in fit_resample only.
    if hasattr(model, method) and (name, method) not in LAZY
]


@pytest.mark.parametrize("name, method", METHODS)
def test_warnings_of_a_fit_name_this_file(name, method):
    model = MODELS[name]
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        getattr(model, method)(X, y)
    ours = [
        warning
        for warning in record
        if re.search("zeros|StandardScaler|classes=None", str(warning.message))
    ]
    assert ours
    assert {w.filename for w in ours} == {__file__}


def test_the_warning_of_a_transform_names_this_file():
    anonymizer = KSameAnonymizer(k=2).fit(X[3:], y[3:])
    with pytest.warns(UserWarning, match="transform anonymizes nothing") as record:
        anonymizer.transform(X[3:])
    assert record[0].filename == __file__
