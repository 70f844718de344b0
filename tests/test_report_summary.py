"""The summary of a report: each rule, by numbers made up for it."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from skcvae._statistics import Estimate
from skcvae.privacy import privacy_audit
from skcvae.report._sections import balanced_difference
from skcvae.report._summary import Finding, Measured, next_steps, summarise

SOUND = {"coverage": (0.95, 0.96), "precision": (0.9, 0.9), "variance": 1.0}


def judge(**measured):
    """Return the findings of a report on over-sampling."""
    return summarise(Measured(is_release=False, **measured))


def one(**measured):
    (finding,) = judge(**measured)
    return finding


def test_nothing_measured_says_nothing():
    assert judge() == []
    (step,) = next_steps([])
    assert "another seed" in step


@pytest.mark.parametrize(
    ("ratio", "is_good", "remedy"),
    [
        (0.66, False, "Raise the variance."),
        (0.67, True, ""),
        (1.5, True, ""),
        (1.51, False, "Lower the variance."),
    ],
)
def test_variance_is_good_between_two_thirds_and_one_and_a_half(ratio, is_good, remedy):
    finding = one(variance=ratio)
    assert (finding.is_good, finding.remedy) == (is_good, remedy)
    assert f"{ratio} times that of test samples" in finding.sentence


def test_coverage_and_precision_are_judged_by_those_of_training_samples():
    good = judge(**SOUND | {"coverage": (0.9, 1.0), "precision": (0.45, 0.5)})
    assert [f.is_good for f in good] == [True, True, True]
    poor = judge(**SOUND | {"coverage": (0.89, 1.0), "precision": (0.44, 0.5)})
    assert [f.is_good for f in poor] == [False, False, True]
    assert poor[0].sentence == (
        "Generated samples cover 89 % of the test samples, and training samples 100 %: "
        "parts of the classes are missing."
    )
    # Both have one remedy.
    assert len(next_steps(poor)) == 1


def test_test_samples_unlike_training_samples_are_no_yardstick():
    # Two halves of one set cover 1 - 2^-2 of each other with two neighbours.
    near = {"n_neighbors": 2, "precision": (0.1, 0.9)}
    measured = {**near, "variance": 9.0, "medians": (Estimate(0, 0, 0),) * 2}
    (finding,) = judge(**measured, coverage=(0.5, 0.67))
    assert "cover 67 % of the test samples" in finding.sentence
    assert "would cover 75 %: the sets differ" in finding.sentence
    assert "Split all samples at random" in finding.remedy
    assert len(judge(**measured, coverage=(0.5, 0.68))) == 3


def test_random_halves_of_one_set_pass_as_alike():
    # The share that the rule expects, on samples of one distribution.
    from skcvae.metrics import precision_recall_density_coverage

    halves = np.random.RandomState(0).normal(size=(2, 2000, 4))
    found = precision_recall_density_coverage(*halves, n_neighbors=3)
    assert found["coverage"] == pytest.approx(1 - 0.5**3, abs=0.02)


def test_distances_are_doubtful_only_where_intervals_are_apart():
    test = Estimate(2.0, 1.9, 2.1)
    assert judge(medians=(Estimate(1.8, 1.7, 1.9), test)) == []
    finding = one(medians=(Estimate(1.7, 1.6, 1.8), test))
    assert not finding.is_good
    assert "the median distance is 1.7 against 2" in finding.sentence


@pytest.mark.parametrize(
    ("bounds", "of_release", "of_added", "says"),
    [
        ((-0.03, -0.05, -0.01), False, False, "a loss"),
        ((0.03, 0.01, 0.05), True, True, "a gain"),
        ((0.01, -0.01, 0.03), True, False, "[-1.0, +3.0]"),
    ],
)
def test_probes_differ_where_the_interval_excludes_0(
    bounds, of_release, of_added, says
):
    added = one(difference=Estimate(*bounds))
    assert (added.is_good, says in added.sentence) == (of_added, True)
    release = summarise(
        Measured(is_release=True, difference=Estimate(*bounds), guarantee="k")
    )[0]
    assert (release.is_good, says in release.sentence) == (of_release, True)


def test_model_is_judged_by_its_latents_and_held_out_samples():
    assert "Posterior collapse" in one(n_active_dims=0).sentence
    assert judge(n_active_dims=1) == []
    assert one(held_out_scores=(-3.0, -3.0)).is_good
    assert "Use a ClassGaussian" in one(held_out_scores=(-2.0, -3.0)).remedy


def test_unknown_classes_and_warnings_are_named():
    assert "no training samples: [7]." in one(unknown_classes="[7]").sentence
    assert one(messages=("Odd.",)) == Finding(False, "Odd.")


def of_release(audit, **measured):
    return summarise(Measured(is_release=True, audit=audit, **measured))


def audited(released, n_records=60, shift=0.0):
    """Return an audit of samples of one class in five features."""
    rng = np.random.RandomState(0)
    members, nonmembers, reference = rng.normal(size=(3, n_records, 5))
    y = np.zeros(n_records, dtype=int)
    X = members if released == "members" else rng.normal(size=(n_records, 5))
    return privacy_audit(
        (X, y), members, y, nonmembers + shift, y, reference, y, random_state=0
    )


def test_release_that_was_not_audited_says_why():
    findings = of_release(None, not_audited="not audited: there is no reference.")
    assert [f.is_good for f in findings] == [False, False]
    assert findings[0].sentence == "The release was not audited: there is no reference."
    assert findings[1].sentence == "The release has no formal guarantee."
    (good,) = of_release(None, guarantee="(1, 1e-5)-DP")[1:]
    assert good == Finding(True, "The release has (1, 1e-5)-DP.")


@pytest.mark.filterwarnings("ignore:Few records")
def test_attacks_that_find_members_are_doubtful():
    first = of_release(audited("members"))[0]
    assert not first.is_good
    assert "members copied exactly 60, by chance up to 0" in first.sentence
    first = of_release(audited("others"))[0]
    assert first.is_good
    assert "No attack finds more about membership than chance gives" in first.sentence


@pytest.mark.filterwarnings("ignore:Few records")
def test_planted_leaks_that_the_audit_misses_are_named():
    audit = replace(audited("others"), planted={"nothing": "", "a": "", "b": "AUC"})
    (finding,) = [f for f in of_release(audit) if "planted" in f.sentence]
    assert finding.sentence.endswith("would not have shown these planted leaks: a.")


@pytest.mark.filterwarnings("ignore:Few records")
@pytest.mark.parametrize(("n_records", "is_usable"), [(60, True), (500, False)])
def test_sets_that_differ_are_a_dead_end_with_cause_and_remedy(n_records, is_usable):
    assert audited("others").dead_end == ()
    audit = audited("others", n_records, shift=5.0)
    # With few records, the controls hide the shift, and the planted release shows it.
    assert any(attack.usable for attack in audit.attacks) == is_usable
    assert audit.planted["nothing"]
    cause, remedy = audit.dead_end
    assert "the two sets differ in distribution" in cause
    assert ("No attack with controls" in cause) != is_usable
    assert "Split one set at random" in remedy
    assert cause in str(audit)
    assert audit.to_dict()["dead_end"] == f"{cause} {remedy}"
    assert of_release(audit)[0] == Finding(False, cause, remedy)


@pytest.mark.filterwarnings("ignore:Few records")
def test_attacks_that_notice_no_leak_are_a_dead_end_of_too_few_records():
    audit = audited("others")
    guess = Estimate(0.5, 0.4, 0.6)
    blind = [
        replace(a, positive=guess, negative=guess, usable=False) for a in audit.attacks
    ]
    cause, remedy = replace(audit, attacks=tuple(blind)).dead_end
    assert "too few records" in cause
    assert "more members" in remedy


def test_difference_of_balanced_accuracies_is_that_of_the_scores():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [40, 15, 3])
    first, second = (np.where(rng.rand(58) < p, y, -1) for p in (0.8, 0.6))
    found = balanced_difference(first == y, second == y, y)
    scores = [
        np.mean([np.mean(p[y == c] == c) for c in range(3)]) for p in (first, second)
    ]
    assert found.value == pytest.approx(scores[0] - scores[1])
    assert balanced_accuracy_score(y, y) == 1.0
    assert balanced_difference([True], [False], [0]) is None


def test_interval_of_the_difference_covers_the_truth():
    # Paired draws: both are right, or only one of them. The true difference is 0.1.
    y = np.repeat([0, 1, 2, 3], [60, 40, 20, 10])
    rng = np.random.RandomState(0)
    covered = 0
    for _ in range(1000):
        draws = rng.rand(len(y))
        found = balanced_difference(draws < 0.8, (draws > 0.1) & (draws < 0.8), y)
        covered += found.low <= 0.1 <= found.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.025)
