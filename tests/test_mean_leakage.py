"""What class means tell: the formula against simulations, and the limits."""

from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from skcvae._mean_leakage import (
    effective_dimension,
    estimate_mean_leakage,
    mean_attack_auc,
)
from skcvae.anonymization import (
    GenerativeAnonymizer,
    KSameAnonymizer,
    SyntheticDataset,
    load,
)
from skcvae.cli import app
from skcvae.generators import DPClassGaussian

SCALE = np.arange(1, 201) ** -0.25
DIMENSION = np.sum(SCALE**2) ** 2 / np.sum(SCALE**4)


def simulated_auc(n_members, n_synthetic, n_reference, n_classes=60):
    """Return the AUC of the attack by class means on Gaussian classes of mean 0."""
    rng = np.random.RandomState(0)
    aucs = []
    for _ in range(n_classes):
        members, others = rng.normal(size=(2, n_members, len(SCALE))) * SCALE
        error = rng.normal(size=len(SCALE)) * SCALE / np.sqrt(n_synthetic)
        reference = rng.normal(size=len(SCALE)) * SCALE / np.sqrt(n_reference)
        shift = members.mean(axis=0) + error - reference
        scores = [(X - reference) @ shift for X in (members, others)]
        truth = np.repeat([1, 0], n_members)
        aucs.append(roc_auc_score(truth, np.concatenate(scores)))
    return np.mean(aucs)


@pytest.mark.parametrize("n_members", [30, 100])
@pytest.mark.parametrize("synthetic", [1, 4, np.inf])
@pytest.mark.parametrize("reference", [0.5, 1, 4, np.inf])
def test_formula_agrees_with_a_simulation(n_members, synthetic, reference):
    others = n_members * synthetic, n_members * reference
    predicted = mean_attack_auc(n_members, DIMENSION, *others)
    assert_allclose(simulated_auc(n_members, *others), predicted, atol=0.02)


def test_bounds_are_those_of_the_closed_form():
    assert_allclose(mean_attack_auc(47, 54), norm.cdf(np.sqrt(54 / 47 / 2)))
    expected = norm.cdf(np.sqrt(54 / (47 * 2) / 2))
    assert_allclose(mean_attack_auc(47, 54, n_synthetic=47), expected)
    assert_allclose(mean_attack_auc(47, 54, n_reference=47), expected)
    assert mean_attack_auc(47, 54, 1e9, 1e-9) < 0.501


@pytest.mark.parametrize("n_samples", [20, 60, 1_000])
def test_effective_dimension_has_no_bias(n_samples):
    rng = np.random.RandomState(0)
    codes = np.arange(n_samples) % 4
    found = [
        effective_dimension(
            rng.normal(size=(n_samples, len(SCALE))) * SCALE + 9 * codes[:, None], codes
        )
        for _ in range(5)
    ]
    assert_allclose(np.mean(found), DIMENSION, rtol=0.1)


def test_classes_of_different_shape_have_the_dimension_of_each():
    codes = np.arange(2_000) % 10
    X = np.zeros((2_000, 30))
    rng = np.random.RandomState(0)
    for code in range(10):
        X[codes == code, 3 * code : 3 * code + 3] = rng.normal(size=(200, 3))
    # All classes together have 30 directions, each class has 3.
    assert_allclose(effective_dimension(X, codes), 3, rtol=0.05)


@pytest.mark.parametrize("X", [np.ones((6, 5)), np.arange(30.0).reshape(6, 5)])
@pytest.mark.parametrize("n_classes", [1, 6])
def test_dimension_is_between_one_and_the_number_of_features(X, n_classes):
    for factor in (1e-30, 1, 1e30):
        found = effective_dimension(factor * X, np.arange(6) % n_classes)
        assert 1 <= found <= 5


def classes_of(*sizes, n_features=40):
    rng = np.random.RandomState(0)
    y = np.repeat([f"class {n}" for n in sizes], sizes)
    return rng.normal(size=(len(y), n_features)), y


def test_large_classes_pass_without_a_warning(recwarn, tmp_path):
    X, y = classes_of(200, 150)
    anonymizer = GenerativeAnonymizer(random_state=0)
    anonymizer.fit_transform(X, y)
    assert not [w for w in recwarn if "Class means" in str(w.message)]
    assert anonymizer.mean_leakage_.decoder < 0.7
    next(anonymizer.batches(8))
    load(anonymizer.release(tmp_path / "a.safetensors"))


def test_samples_of_smaller_classes_give_a_warning():
    X, y = classes_of(200, 15)
    anonymizer = GenerativeAnonymizer(random_state=0)
    expected = r"0\.79 is expected for the class 'class 15' of 15 samples"
    with pytest.warns(UserWarning, match=expected) as record:
        anonymizer.fit_transform(X, y)
    assert record[0].filename == __file__


def test_decoders_and_streams_of_small_classes_are_refused(tmp_path):
    X, y = classes_of(200, 10)
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    path = tmp_path / "a.safetensors"
    dataset = SyntheticDataset(anonymizer, random_state=0)
    for publish in (
        lambda: anonymizer.release(path),
        lambda: anonymizer.batches(8),
        lambda: next(iter(dataset)),
    ):
        with pytest.raises(ValueError, match=r"max_mean_leakage=0\.9") as error:
            publish()
        assert "'class 10' of 10 samples" in str(error.value)
    assert not path.exists()
    # A class that is left out tells nothing.
    load(anonymizer.release(path, min_class_size=11))
    anonymizer.set_params(max_mean_leakage=1)
    load(anonymizer.release(path))
    assert len(list(islice(dataset, 2))) == 2


def test_lifted_limit_is_silent_and_the_statement_remains(recwarn):
    X, y = classes_of(200, 10)
    anonymizer = GenerativeAnonymizer(max_mean_leakage=1, random_state=0)
    anonymizer.fit_transform(X, y)
    assert not [w for w in recwarn if "Class means" in str(w.message)]
    assert "0.85 and 0.95" in anonymizer.privacy_statement()["class means"]


def test_statement_is_rounded_up_so_that_no_count_follows():
    X, y = classes_of(200, 20)
    leakage = estimate_mean_leakage(X, y)
    first = leakage.sentence()
    leakage.class_count = leakage.class_count + 1
    assert leakage.sentence() == first
    assert f"{np.ceil(leakage.decoder * 20) / 20:.2f}" in first


@pytest.mark.filterwarnings("ignore")
def test_private_generators_are_exempt(tmp_path):
    X, y = classes_of(30, 3)
    private = DPClassGaussian(epsilon=1.0, delta=1e-5)
    anonymizer = GenerativeAnonymizer(private).fit(X, y)
    assert not hasattr(anonymizer, "mean_leakage_")
    assert "class means" not in anonymizer.privacy_statement()
    next(anonymizer.batches(8))
    anonymizer.release(tmp_path / "a.safetensors", min_class_size=1)


def test_k_same_states_what_exact_means_tell():
    X, y = classes_of(200, 10)
    anonymizer = KSameAnonymizer(k=5).fit(X, y)
    expected = estimate_mean_leakage(X, y).decoder
    assert_allclose(anonymizer.mean_leakage_.decoder, expected)
    assert any(
        "Class means" in s for s in anonymizer.privacy_statement()["not covered"]
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", ["release", "anonymize"])
def test_commands_refuse_and_can_be_told_otherwise(command, tmp_path):
    X, y = classes_of(200, 5)
    source, suffix = tmp_path / "a.npz", {"release": "safetensors", "anonymize": "npz"}
    np.savez(source, X=X, y=y)
    output = tmp_path / f"out.{suffix[command]}"
    args = [command, str(source), "-o", str(output), "--method", "gaussian"]
    args += ["--small-classes", "allow"]
    runner = CliRunner()
    refused = runner.invoke(app, args)
    assert refused.exit_code != 0
    assert not output.exists()
    allowed = runner.invoke(app, [*args, "--max-mean-leakage", "1"])
    assert allowed.exit_code == 0, allowed.output
    assert "class means: " in allowed.output
