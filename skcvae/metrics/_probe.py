"""Utility of synthetic samples: a linear head learns from them, and is scored."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    recall_score,
    roc_auc_score,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from .._devices import resolve_device
from .._record_sets import array_likes
from .._seeds import draw_seeds
from .._statistics import to_plain
from ._probe_training import prepare_data, train_head

_SCORES = ("accuracy", "balanced_accuracy", "auroc", "f1", "kappa")


@dataclass(frozen=True)
class ProbeResult:
    """What :func:`linear_probe` returns; its fields are documented there."""

    accuracy: float
    balanced_accuracy: float
    auroc: float
    f1: float
    kappa: float
    validation_loss: float
    n_epochs: int
    n_steps: int
    robustness: tuple = ()
    auroc_reason: str = ""

    def to_dict(self) -> dict:
        """Return all fields as plain numbers, lists and dicts for JSON; NaN is None."""
        return to_plain(self)

    def __str__(self):
        lines = [f"{'noise':>8}" + "".join(f"{name:>19}" for name in _SCORES)]
        clean = {"noise_level": "none", **{n: getattr(self, n) for n in _SCORES}}
        for row in (clean, *self.robustness):
            level = row["noise_level"]
            level = level if isinstance(level, str) else f"{level:g}"
            lines.append(f"{level:>8}" + "".join(f"{row[n]:19.4f}" for n in _SCORES))
        if self.auroc_reason:
            lines.append(f"No AUROC: {self.auroc_reason}")
        lines.append(
            f"Validation loss {self.validation_loss:.4f}; {self.n_epochs} epochs, "
            f"{self.n_steps:,} steps."
        )
        return "\n".join(lines)


@validate_params(
    {
        "source": [tuple, HasMethods("batches")],
        **array_likes("X_val", "y_val", "X_test", "y_test", "noise_levels"),
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "steps_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "average": [StrOptions({"macro", "weighted"})],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def linear_probe(  # noqa: PLR0913  the samples of three parts, and a training
    source: tuple | object,
    X_val: ArrayLike,
    y_val: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    noise_levels: ArrayLike = (),
    max_epochs: int = 100,
    steps_per_epoch: int = 50,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    patience: int = 10,
    average: str = "macro",
    device: str | torch.device = "cpu",
    random_state: int | np.random.RandomState | None = None,
) -> ProbeResult:
    r"""Train a linear head on synthetic samples and test it on real ones.

    A measure of utility [1]_: AdamW trains a linear softmax head on the source until
    the loss of real validation samples no longer falls. The weights of the lowest loss
    are scored on real test samples. For a score to compare with, give the real training
    samples as the source.

    Parameters
    ----------
    source : tuple of (X, y), or object with `batches`
        What to train on: samples of shape (n_samples, n_features) with their labels; or
        an endless stream of fresh samples, as of an anonymizer or a release, whose
        ``batches(batch_size, random_state=seed)`` yields such arrays of `batch_size`
        samples for ever. Classes of a stream are those of its `classes_`, where it has
        them, and of its first epoch.

    X_val : array-like of shape (n_val, n_features)
        Real samples that stop the training, and that set the scale of all samples.

    y_val : array-like of shape (n_val,)
        Their labels.

    X_test : array-like of shape (n_test, n_features)
        Real samples to test on.

    y_test : array-like of shape (n_test,)
        Their labels, of two classes or more. One that the head never saw counts as an
        error.

    noise_levels : array-like of shape (n_levels,), default=()
        Standard deviations :math:`\sigma \ge 0` of Gaussian noise on the test samples,
        one entry of `robustness` each. 1 is the root mean square of the standard
        deviations of the features.

    max_epochs : int, default=100
        Epochs after which training stops in any case.

    steps_per_epoch : int, default=50
        Steps after which the validation loss is computed. Every source gets the same
        number, whatever its size.

    batch_size : int, default=256
        Samples of a step. Those of a tuple are visited in shuffled passes, one after
        the other, so that a step of a small source has as many.

    lr : float, default=1e-3
        Learning rate.

    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW. Early stopping regularises more.

    patience : int, default=10
        Epochs without a lower validation loss after which training stops.

    average : {"macro", "weighted"}, default="macro"
        How AUROC and F1 of the classes are averaged: alike, or by their share of the
        test samples.

    device : str or torch.device, default="cpu"
        Where to train. "auto" is the GPU that torch reports, if any.

    random_state : int, RandomState instance or None, default=None
        Seed of the head, the order of the samples, the stream and the noise. Give each
        source the same integer: then the noise is the same, too.

    Returns
    -------
    result : ProbeResult
        It prints as a table, and has the attributes

        - `accuracy` : float, the share of the test samples whose class was predicted,
          in [0, 1];
        - `balanced_accuracy` : float, the mean recall of the classes of the test
          samples, in [0, 1];
        - `auroc` : float, the area under the ROC curve, in [0, 1]: of the second class
          where there are two, else the average of each class against the rest. NaN
          where the test samples lack a class of the head, or hold one that it never
          saw, with the reason in `auroc_reason` : str, which is empty otherwise;
        - `f1` : float, F1 averaged over the classes of the test samples, in [0, 1];
        - `kappa` : float, Cohen's kappa, at most 1; 0 is agreement by chance;
        - `validation_loss` : float, the lowest cross-entropy of the validation samples,
          in nats. The weights that had it were tested;
        - `n_epochs` and `n_steps` : int, the epochs and steps of the whole training;
        - `robustness` : tuple of dict, for each noise level, in the order given,
          `noise_level` and the five scores. A data frame takes it as it is;
        - `to_dict()`, a method that returns all of this for JSON, with None for NaN.

    Raises
    ------
    ValueError
        If a part is empty, not finite or of another number of features, labels are not
        classes, or a stream yields other shapes than asked for, or ends.

    FloatingPointError
        If the loss is not finite.

    Notes
    -----
    All samples are centred by the mean of the validation samples, and divided by one
    number, :math:`s = \sqrt{\frac{1}{d} \sum_j s_j^2}` with their standard deviations
    :math:`s_j`. Validation samples are real and the same for every source, so that no
    source is scaled by its own statistics, and noise of level :math:`\sigma` is
    :math:`x + \sigma s \epsilon` for all. The draws :math:`\epsilon` are those of the
    seed, and the same for all levels.

    The program of [1]_ scales by the statistics of the samples that it trains on, so
    that the same noise is weaker against the signal for one method than for another,
    and gives its online method ten times the steps of an epoch.

    Validation and test samples are real: the probe is for who holds them, and its
    result is not covered by a guarantee of differential privacy for the source.

    References
    ----------
    .. [1] F. Di Salvo, D. Tafler, S. Doerrich and C. Ledig, "Privacy-preserving
       datasets by capturing feature distributions with Conditional VAEs", BMVC 2024,
       `arXiv 2408.00639 <https://arxiv.org/abs/2408.00639>`_.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian
    >>> from skcvae.metrics import linear_probe
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = ClassGaussian(random_state=0).fit(X[:900], y[:900])
    >>> parts = X[900:1200], y[900:1200], X[1200:], y[1200:]
    >>> result = linear_probe(
    ...     generator.sample(), *parts, noise_levels=[1.0], max_epochs=10,
    ...     random_state=0)
    >>> bool(result.accuracy > 0.85)
    True
    >>> bool(result.robustness[0]["accuracy"] < result.accuracy)
    True
    """
    result, _ = run_probe(
        source,
        (X_val, y_val),
        (X_test, y_test),
        noise_levels=noise_levels,
        steps_per_epoch=steps_per_epoch,
        average=average,
        device=device,
        random_state=random_state,
        max_epochs=max_epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        patience=patience,
    )
    return result


def run_probe(
    source,
    val,
    test,
    *,
    noise_levels,
    steps_per_epoch,
    average,
    device,
    random_state,
    **training,
):
    """Return what `linear_probe` returns, and the predicted labels.

    `training` has its parameters `max_epochs`, `batch_size`, `lr`, `weight_decay` and
    `patience`.
    """
    device = resolve_device(device)
    levels = _check_noise_levels(noise_levels)
    head_seed, batch_seed, noise_seed = draw_seeds(check_random_state(random_state), 3)
    data = prepare_data(
        source,
        val,
        test,
        device,
        batch_size=training["batch_size"],
        n_steps=steps_per_epoch,
        seed=batch_seed,
    )
    net = train_head(
        data.stream,
        data.valid,
        len(data.classes),
        head_seed,
        device=str(device),
        **training,
    )
    predicted, (scores, *noisy) = _score_levels(
        net.module_, data, [0.0, *levels], noise_seed, average
    )
    n_epochs = len(net.history)
    result = ProbeResult(
        **scores,
        validation_loss=float(min(net.history[:, "valid_loss"])),
        n_epochs=n_epochs,
        n_steps=n_epochs * steps_per_epoch,
        robustness=tuple(
            {"noise_level": level, **one}
            for level, one in zip(levels, noisy, strict=True)
        ),
        auroc_reason=_missing_classes(data.classes, data.y_test),
    )
    return result, predicted


@torch.inference_mode()
def _score_levels(head, data, levels, seed, average):
    """Return predictions at the first noise level, and scores at each, of one draw."""
    noise = np.random.RandomState(seed).standard_normal(data.x_test.shape)
    noise = torch.from_numpy(noise.astype(np.float32)).to(data.x_test.device)
    has_auroc = not _missing_classes(data.classes, data.y_test)
    scores, predictions = [], []
    for level in levels:
        logits = head(data.x_test + level * noise)
        probability = logits.cpu().double().softmax(dim=1).numpy()
        predicted = data.classes[probability.argmax(axis=1)]
        row = _label_scores(data.y_test, predicted, average)
        row["auroc"] = np.nan
        if has_auroc:
            row["auroc"] = _auroc(data.y_test, probability, data.classes, average)
        scores.append(row)
        predictions.append(predicted)
    return predictions[0], scores


def _label_scores(y_true, y_pred, average):
    """Return the scores of predicted labels, over the classes of the true ones."""
    classes = np.unique(y_true)
    return {
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "balanced_accuracy": float(
            recall_score(y_true, y_pred, labels=classes, average="macro")
        ),
        "f1": float(
            f1_score(y_true, y_pred, labels=classes, average=average, zero_division=0)
        ),
        "kappa": float(cohen_kappa_score(y_true, y_pred)),
    }


def _auroc(y_true, probability, classes, average):
    """Return the area under the ROC curve; every class has test samples."""
    if len(classes) == 2:
        return float(roc_auc_score(y_true == classes[1], probability[:, 1]))
    return float(
        roc_auc_score(
            y_true, probability, multi_class="ovr", average=average, labels=classes
        )
    )


def _missing_classes(classes, y_test):
    """Say which classes the test samples or the head lack; empty where they agree."""
    head, test = set(classes.tolist()), set(y_test.tolist())
    reasons = []
    if absent := sorted(head - test):
        reasons.append(f"the test samples lack the classes {absent[:5]}")
    if unseen := sorted(test - head):
        reasons.append(f"the head never saw the classes {unseen[:5]}")
    return "; ".join(reasons)


def _check_noise_levels(noise_levels):
    levels = check_array(
        noise_levels,
        ensure_2d=False,
        ensure_min_samples=0,
        dtype=np.float64,
        input_name="noise_levels",
    )
    if levels.ndim != 1 or (levels < 0).any():
        raise ValueError(
            "noise_levels must be a sequence of standard deviations, none negative, "
            f"got {noise_levels!r}."
        )
    return levels.tolist()
