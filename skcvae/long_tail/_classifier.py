"""The classifier for long-tailed data."""

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import nn

from .._doc_links import DocLinkMixin
from .._states import ArrayStateMixin
from .._validation import VARIANCE_CONSTRAINT, fitting
from ._head_fitting import HeadFittingMixin
from ._head_net import LOSSES
from ._heads import HEADS, HeadPredictionsMixin, LinearHead
from ._priors import SAMPLING_EXPONENTS


class LongTailClassifier(
    HeadFittingMixin,
    HeadPredictionsMixin,
    DocLinkMixin,
    ClassifierMixin,
    ArrayStateMixin,
    BaseEstimator,
):
    r"""Linear head on embeddings, trained with generated samples for rare classes.

    Batches are made as in Algorithm 1 of the thesis: a sample of a class with
    :math:`n_c` samples is drawn with weight :math:`n_c^{-b}` and replaced, with a
    probability that falls with :math:`n_c`, by a generated sample of its class, made
    anew for each batch. The class prior of these batches is known. The loss, or the
    prediction, corrects it once. Where generated samples are Gaussian, the default
    `solver` needs no batches: it minimises the mean over all of them at once.

    Parameters
    ----------
    generator : estimator, default=None
        Generator with the methods `fit(X, y)` and `sample(y=...)`. It is cloned, so
        that the one given stays unfitted; a fitted one in scikit-learn's
        FrozenEstimator is used as it is. None is
        :class:`~skcvae.generators.ClassGaussian`. It is not touched where `augment`
        is None.

    head : {"auto", "linear", "mlp", "cosine"} or callable, default="auto"
        "auto" is "cosine" for the loss "ldam", which needs it, and else "linear". A
        callable takes `n_features` and `n_classes` and returns a
        :class:`torch.nn.Module` from (n, n_features) to logits (n, n_classes).

    loss : str or torch.nn.Module, default="balanced_softmax"
        "cross_entropy", "balanced_softmax", "logit_adjusted", "class_balanced",
        "focal", "equalization" or "ldam"; see :mod:`skcvae.long_tail` for each. A
        module takes logits and class codes and has the attribute `reduction`, as
        those of torch have. What it does to the prior, it says itself; see Notes.

    loss_params : dict, default=None
        Further arguments of the named loss, for example ``{"gamma": 1.0}``.

    sampling : str or float, default="auto"
        The exponent b of the weight :math:`n_c^{-b}` with which a sample is drawn: 0
        for "instance", 0.5 for "sqrt", 1 for "balanced", or a number. "progressive"
        moves from "instance" to "balanced" over the epochs. "auto" is "sqrt", and
        "balanced" where the closed form leaves generated samples out; see `augment_`.

    augment : {"inverse", "inverse_steep", "always"} or None, default="inverse"
        Probability that a sample is replaced: :math:`1 / n_c` or :math:`1 / n_c^2`,
        scaled to [0, 1] over the classes and then clipped to [`p_min`, `p_max`];
        always; never.

    p_min, p_max : float or callable, default=0.2, 0.7
        Bounds of that probability; the program of the thesis has 0.01 and 0.7. A
        callable, such as :class:`EpochSchedule` or :class:`ValidationSchedule`, takes
        the epoch, from 0 on, and the number of epochs, and returns the value of that
        epoch. Schedules are for "sgd".

    variance : float, dict, array-like, "auto" or callable, default=None
        Variance of the generated samples, as in the generator's `sample`. None is the
        generator's own, and a callable a schedule as for `p_min`. The closed form with
        ``l2="auto"`` takes it once or twice, whichever suits held-out samples.

    generated_weight : float, default=1.0
        Weight of generated samples in the loss.

    remix : bool or dict, default=False
        Whether to mix the samples of a batch in pairs by Remix [2]_. A dict sets some
        of ``{"alpha": 1.0, "kappa": 3.0, "tau": 0.5}``.

    prior_correction : {"effective", "original"} or None, default="effective"
        Class prior that is taken to be in the logits: the one that the batches have;
        that of the training samples (the thesis, which so corrects it a second time
        after class-balanced sampling); or none, so that nothing is corrected. The
        losses "balanced_softmax", "logit_adjusted" and "equalization" correct it while
        they train, others leave it to the prediction.

    tau : float, default=1.0
        Exponent of the corrected prior. Above 1, predictions favour rare classes.

    target_prior : str, array-like of shape (n_classes,) or None, default="uniform"
        Class prior for which predictions are made: "uniform", "train", or numbers in
        the order of `classes_`. What the loss left of `prior_correction` is corrected
        here. None predicts with the logits as they are.

    calibration : {"temperature"} or None, default=None
        Whether to fit a temperature on cross-fitted probabilities of held-out samples,
        weighted to `target_prior`. Confidences become honest, and predictions stay as
        they are. It costs one more training for each fold of `cv`.

    cv : int, cross-validation splitter or iterable, default=5
        Folds of the calibration, stratified if an int. Those keep a sample of each
        class in the training part.

    solver : {"auto", "closed_form", "sgd"}, default="auto"
        "closed_form" minimises, by L-BFGS, a bound on the mean loss over infinitely
        many generated samples; see Notes. "sgd" trains on batches with drawn samples.
        "auto" takes the closed form where it applies and
        n_samples x n_classes x n_features is at most 1e9, else "sgd". It applies to a
        linear head; the losses "balanced_softmax" and "logit_adjusted" without
        `loss_params`; no augmentation, or a ClassGaussian with one covariance; no Remix
        and no progressive sampling; and `weight_decay`, `max_epochs`, `batch_size`,
        `lr` and `net_params` as they are by default, for those are for "sgd".

    l2 : float or "auto", default="auto"
        Strength of the ridge of the closed form, above 0: l2 / 2 times the squared
        norm of the weights is added to the mean loss; see Notes for the metric. "auto"
        chooses it, and a temperature, on held-out samples: a fifth, three times. Copies
        of a sample are held out with it. An over-sampler before the classifier would
        give held-out samples away: it is warned of, and not needed.

    weight_decay : float, default=1.0
        Decoupled weight decay of the head (AdamW multiplies it by the learning rate).

    max_epochs : int or "auto", default="auto"
        Passes, each over as many samples as there are. "auto" takes as many as make
        2,000 steps, but at least 10.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=2e-3
        Learning rate at the start; it falls to zero along a cosine.
        ``net_params={"callbacks__lr_schedule": None}`` keeps it constant.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators: the candidates of a grid search then share one
        for each fold. Needs a generator with an integer `random_state`.

    random_state : int, RandomState instance or None, default=None
        Seed of the head, the batches and the draws, and of the generator where it has
        none of its own.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`, for example `callbacks`,
        `train_split`, `optimizer` or `module__hidden_dim`. Callbacks are added to
        ours. :func:`skcvae.generators.early_stopping` returns those that stop by
        validation samples, in the units of `X`, which the generator does not see.
        ``{"precision": "bf16"}`` computes the products of training in bfloat16.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class, or the sum of their weights.

    generator_ : estimator
        The fitted generator, where `augment` is not None.

    effective_prior_ : ndarray of shape (n_classes,)
        Class prior of the batches of the last epoch, or of that whose weights a
        callback restored.

    target_prior_ : ndarray of shape (n_classes,) or None
        Class prior for which predictions are made.

    temperature_ : float
        What the logits for `target_prior` are divided by. Without `calibration`, it is
        1, or chosen together with `l2_`.

    logit_scale_ : float
        Factor of the logits of the head: that of the loss "ldam", else 1, over
        `temperature_`.

    logit_correction_ : ndarray of shape (n_classes,)
        What is added to the logits to predict for that prior.

    solver_ : {"closed_form", "sgd"}
        The solver in use.

    augment_ : str or None
        `augment`; or None where the closed form with ``l2="auto"`` left generated
        samples out of at most ten classes, because held-out samples preferred it.

    sampling_ : str or float
        `sampling`, or what "auto" stands for.

    head_ : torch.nn.Module
        From scaled samples to logits, on the CPU.

    coef_, intercept_ : ndarray of shape (n_classes, n_features) and (n_classes,)
        ``softmax(X @ coef_.T + intercept_)`` are the probabilities. Only of the closed
        form.

    l2_ : float
        The strength in use. Only of the closed form.

    variance_ : ndarray of shape (n_classes,)
        Variance of the generated samples in use. Only of the closed form, where
        `augment` is not None.

    l2_path_ : dict of str to ndarray of shape (n_strengths,), or None
        "l2" tried, from strong to weak, with the "loss" of held-out samples (mean over
        the classes, weighted by the target prior) at the best "temperature". None where
        `l2` is given, or no class has two samples. Only of the closed form.

    history_ : skorch.history.History
        One row per epoch. Only of "sgd".

    net_ : skorch.NeuralNet
        The trained net, trimmed for prediction, on the CPU. Only of "sgd".

    device_ : torch.device
        Where it was trained.

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share.

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    PriorCorrectedClassifier : The probabilities of other classifiers, repaired.
    skcvae.over_sampling.GenerativeOverSampler : Generates before the training.

    Notes
    -----
    With the prior :math:`\pi` of the batches and the target prior :math:`t`, the
    prior-aware losses train logits z so that :math:`z + \tau \log \pi` predicts the
    batches; :math:`z + \log t` then predicts samples with prior t. Other losses leave
    :math:`\pi` in the logits, and :math:`z - \tau \log \pi + \log t` predicts [1]_. The
    prior in :math:`\pi` counts the sampling weights, the weight of generated samples
    and the labels that Remix moves. "equalization" corrects the prior roughly, and only
    where a class is rare enough; nothing more is corrected then.

    What a loss of your own does to the prior, it says itself: see the user guide. One
    that says nothing corrects nothing, and the prior is corrected in the prediction.

    The closed form [3]_ takes the mean over the generated samples of a class before the
    logarithm. By Jensen's inequality, samples from :math:`N(m_c, v_c \Sigma)` of the
    total weight :math:`g_c` then cost at most

    .. math::
        g_c \log \sum_j \exp\left[(w_j - w_c)^\top m_c + b_j - b_c
        + \tau \log \frac{\pi_j}{\pi_c}
        + \frac{v_c}{2} (w_j - w_c)^\top \Sigma (w_j - w_c)\right].

    The objective is convex, and its solution needs no seed. The ridge is
    :math:`w^\top \Sigma^{1/2} w`, in units that make `l2` independent of that of `X`:
    features of much variance are penalised more. Without augmentation,
    :math:`\Sigma` is the covariance within the classes. Samples count as in batches,
    :math:`g_c = N q_c p_c` for N samples, drawn with the prior q and replaced with the
    probability :math:`p_c`.

    References
    ----------
    .. [1] A. K. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021,
       arXiv 2007.07314.
    .. [2] H.-P. Chou et al., "Remix: Rebalanced Mixup", ECCV 2020 workshops, arXiv
       2007.03943.
    .. [3] Y. Wang et al., "Implicit Semantic Data Augmentation for Deep Networks",
       NeurIPS 2019, arXiv 1909.12220.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.datasets import make_long_tailed
    >>> from skcvae.long_tail import LongTailClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, y_train = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    >>> classifier = LongTailClassifier(device="cpu", random_state=0)
    >>> bool(classifier.fit(X_train, y_train).score(X, y) > 0.85)
    True
    """

    _parameter_constraints: dict = {
        "generator": [HasMethods(["fit", "sample"]), None],
        "head": [StrOptions({"auto", *HEADS}), callable],
        "loss": [StrOptions(set(LOSSES)), nn.Module],
        "loss_params": [dict, None],
        "sampling": [
            StrOptions({*SAMPLING_EXPONENTS, "progressive", "auto"}),
            Interval(Real, None, None, closed="neither"),
        ],
        "augment": [StrOptions({"inverse", "inverse_steep", "always"}), None],
        "p_min": [Interval(Real, 0, 1, closed="both"), callable],
        "p_max": [Interval(Real, 0, 1, closed="both"), callable],
        "variance": [*VARIANCE_CONSTRAINT, callable, None],
        "generated_weight": [Interval(Real, 0, None, closed="neither")],
        "remix": ["boolean", dict],
        "prior_correction": [StrOptions({"effective", "original"}), None],
        "tau": [Interval(Real, 0, None, closed="left")],
        "target_prior": [StrOptions({"uniform", "train"}), "array-like", None],
        "calibration": [StrOptions({"temperature"}), None],
        "cv": ["cv_object"],
        "solver": [StrOptions({"auto", "closed_form", "sgd"})],
        "l2": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "memory": [str, Memory, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    def __init__(  # noqa: PLR0913  as gradient boosting, it has many
        self,
        generator: BaseEstimator | None = None,
        *,
        head: str | Callable[[int, int], nn.Module] = "auto",
        loss: str | nn.Module = "balanced_softmax",
        loss_params: dict[str, Any] | None = None,
        sampling: str | float = "auto",
        augment: str | None = "inverse",
        p_min: float | Callable[..., float] = 0.2,
        p_max: float | Callable[..., float] = 0.7,
        variance: float | dict | ArrayLike | Callable | None = None,
        generated_weight: float = 1.0,
        remix: bool | dict[str, float] = False,
        prior_correction: str | None = "effective",
        tau: float = 1.0,
        target_prior: str | ArrayLike | None = "uniform",
        calibration: str | None = None,
        cv: int | Iterable | None = 5,
        solver: str = "auto",
        l2: float | str = "auto",
        weight_decay: float = 1.0,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        lr: float = 2e-3,
        device: str | torch.device = "auto",
        memory: str | Memory | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ):
        self.generator = generator
        self.head = head
        self.loss = loss
        self.loss_params = loss_params
        self.sampling = sampling
        self.augment = augment
        self.p_min = p_min
        self.p_max = p_max
        self.variance = variance
        self.generated_weight = generated_weight
        self.remix = remix
        self.prior_correction = prior_correction
        self.tau = tau
        self.target_prior = target_prior
        self.calibration = calibration
        self.cv = cv
        self.solver = solver
        self.l2 = l2
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        X_unlabeled: ArrayLike | None = None,
    ) -> Self:
        """Fit the generator and train the head.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings. Arrays of zarr, h5py and Dask, and memory maps of more than 1
            GiB, are read in blocks, by ``solver="sgd"`` and for `y` alone.

        y : array-like of shape (n_samples,)
            Class of each sample, at least two classes. A class may have one sample.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample: with weight 2 it is drawn as if it were there twice,
            and counts twice in the size of its class. The generator is fitted on the
            samples of positive weight, without weights.

        groups : array-like of shape (n_samples,), default=None
            Groups of samples, for a splitter `cv` that keeps them together. With
            groups, `l2` is chosen on the folds of `cv`, too.

        X_unlabeled : array-like of shape (n_unlabeled, n_features), default=None
            Samples of unknown class, for the class means of the generator: see
            :meth:`skcvae.generators.ClassGaussian.fit`. They count neither in the loss
            nor in a class prior. Where it has as many samples as `X`, cross-validation
            takes it for a parameter of each sample and cuts it into folds as well:
            leave one out.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If the input is empty or not finite, has one class only, or parameters
            contradict each other, or `X_unlabeled` has no use.

        TypeError
            If the generator takes no `X_unlabeled`.
        """
        with fitting(self):
            self._check_and_fit(X, y, sample_weight, groups, X_unlabeled)
        return self

    def __getstate__(self):
        """Return the state; the head of the closed form is in arrays."""
        state = super().__getstate__()
        if "net_" in state:
            # Its module is the head.
            del state["head_"]
        elif "head_" in state:
            head = state["head_"].state_dict()
            state["head_"] = {k: v.numpy() for k, v in head.items()}
        return state

    def __setstate__(self, state):
        """Set a state of `__getstate__`."""
        if "net_" in state:
            state = {**state, "head_": state["net_"].module_}
        elif "head_" in state:
            head = LinearHead(*reversed(state["head_"]["weight"].shape))
            head.load_state_dict(
                {k: torch.from_numpy(v.copy()) for k, v in state["head_"].items()}
            )
            state = {**state, "head_": head.eval()}
        super().__setstate__(state)
