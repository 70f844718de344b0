"""Over-sampling with class-specific parts of tail samples in head samples."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from ..._devices import fork_torch_rng, place_samples, resolve_device
from ..._rendering import render
from ..._seeds import draw_seeds
from ..._training import (
    LabelledTensors,
    check_callbacks,
    check_net_params,
    given_validation,
)
from ..._validation import check_numbers, encode_labels
from .._base import BaseDenseOverSampler
from ._activation_maps import PositionScaler, all_activations, encoded, mean_code
from ._fusion import Fusion, fit_agreement, redraw_refused, share_labels
from ._iterated_learning import RESERVED, build_net


class HeadTailFusionSampler(BaseDenseOverSampler):
    r"""Over-sample with class-specific parts of tail samples in head samples.

    Follows [1]_, with small networks in place of a diffusion model. A new sample is
    made of a sample t of its class, the tail, and a sample h of a larger one, the head:

    1. An encoder gives each sample, or each position of a map, a sparse code: groups of
       numbers, each on a simplex [2]_. A linear classifier and a decoder read it.
    2. They are trained by iterated learning [3]_: each generation, a student learns for
       a few steps the codes that a teacher gives, and then the task. This selects codes
       that are easy to learn, which are more compositional.
    3. Class activation maps tell what each unit of a code adds to the logit of the
       sample's class. Units are the positions of a map, and of vectors the groups.
       Those from a quantile on are specific to the class, the others generic.
    4. h is drawn among the nearest neighbours of t by the direction of their maps.
    5. Units that are generic in both samples come from h, all others from t. The
       decoder turns the code into features.

    .. note::
        Do not use it for accuracy: in the tables of the user guide,
        :class:`CVAEOverSampler` is more accurate and faster on long-tailed data, and
        the paper reports that classifiers are worse with its images than without.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as in :class:`CVAEOverSampler`. The head of the
        largest class is all other classes.

    n_groups : int, default=32
        Groups of a code.

    group_size : int, default=8
        Numbers in a group, at least 2, that sum to 1.

    temperature : float, default=0.5
        Temperature of the softmax of a group, above 0. The smaller, the sparser.

    n_generations : int, default=2
        Students after the first agent, each of which learns from the one before. 0 is
        training without iterated learning.

    imitation_steps : int, default=100
        Batches in which a student learns the codes of its teacher.

    interaction_steps : int, default=300
        Batches in which each agent learns to reconstruct and to classify.

    quantile : float, default=0.5
        Quantile of the activation of the units of a sample, in [0, 1], from which on
        they are specific to its class. With 0, no unit comes from the head sample.

    n_neighbors : int, default=100
        Nearest head samples, by their maps, that a partner is drawn from. A class of m
        samples has at most m times as many different new ones.

    label_policy : {"hard", "soft", "agreement"} or classifier, default="hard"
        Labels of new samples. "hard": that of the tail. "soft": the same, and
        `soft_labels_` shares it between tail and head as the units are. "agreement":
        that of the tail, and samples that a classifier takes for another class are
        drawn again, up to ten times; then they repeat the tail sample. The classifier
        is the one given, or :class:`~sklearn.linear_model.LogisticRegression` with
        balanced class weights. It is cloned and fitted on the training samples,
        averaged over positions; a fitted one in scikit-learn's FrozenEstimator is used
        as it is.

    noise : {"residual"} or None, default="residual"
        What is added to decoded samples. "residual": what the decoder leaves out. In
        maps, that of the sample that a position comes from, whose features the position
        then has. In vectors, that of the head sample, around the mean of the tail's
        class.

    decoder : callable, default=None
        Renders new samples, for example from the latents of an autoencoder to images: a
        function of an array of shape (n, ...), a part of the new samples, that returns
        an array of as many.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of training, of fusion, and of a classifier as `label_policy` that has no
        integer of its own: see :ref:`seeds-and-fitted-parts`.

    verbose : int, default=0
        1 shows a progress bar of the phases of training, 2 also skorch's table.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`, such as `lr` and `batch_size`,
        ``module__hidden_dim`` and ``criterion__classification_weight``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained agent of the last generation.

    history_ : skorch.history.History
        An entry for each phase: `generation`, `phase`, its losses and its batches.

    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    sampling_strategy_ : dict
        Number of samples to add to each class.

    parents_ : ndarray of shape (n_new, 2)
        Index of tail and head sample. Set by :meth:`fit_resample`, as what follows.

    masks_ : ndarray of shape (n_new, n_groups), (n_new, n_tokens) or (n_new, h, w)
        True where a unit comes from the tail sample.

    soft_labels_ : ndarray of shape (n_samples_new, n_classes)
        Share of each class in the label of each sample, the training samples included.
        Only with ``label_policy="soft"``.

    n_repeated_ : int
        Number of new samples that the classifier refused ten times. Only with a
        classifier.

    images_ : ndarray of shape (n_new, ...)
        What `decoder` returned. Only where there is one.

    n_features_in_ : int
        Length of the second axis of `X`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    RemixSampler : Mixes all features of two samples.

    Notes
    -----
    `X` holds vectors (n, d), patch tokens (n, tokens, d) or feature maps (n, c, h, w),
    such as those of ``FoundationEmbedder(pooling="map")``. New samples have the
    shape of the old ones. Codes of maps are made in parts, and never all in memory.

    References
    ----------
    .. [1] R. Elberg, D. Parra and M. Petrache, "Long Tail Image Generation Through
       Feature Space Augmentation and Iterated Learning", 2024, `arXiv 2405.01705
       <https://arxiv.org/abs/2405.01705>`_.
    .. [2] S. Lavoie et al., "Simplicial Embeddings in Self-Supervised Learning and
       Downstream Classification", ICLR 2023.
    .. [3] Y. Ren, S. Lavoie, M. Galkin, D. J. Sutherland and A. Courville, "Improving
       Compositional Generalization using Iterated Learning and Simplicial Embeddings",
       NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skcvae.over_sampling import HeadTailFusionSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> sampler = HeadTailFusionSampler(
    ...     n_generations=1, interaction_steps=10, device="cpu", random_state=0
    ... )
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> X_res.shape
    (182, 20)
    >>> sampler.activation_maps(X, y).shape
    (100, 32)
    """

    _allow_nd = True

    _parameter_constraints = {
        **BaseDenseOverSampler._parameter_constraints,
        "n_groups": [Interval(Integral, 1, None, closed="left")],
        "group_size": [Interval(Integral, 2, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "n_generations": [Interval(Integral, 0, None, closed="left")],
        "imitation_steps": [Interval(Integral, 1, None, closed="left")],
        "interaction_steps": [Interval(Integral, 1, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="both")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "label_policy": [
            StrOptions({"hard", "soft", "agreement"}),
            HasMethods(["fit", "predict"]),
        ],
        "noise": [StrOptions({"residual"}), None],
        "decoder": [callable, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    def __init__(  # noqa: PLR0913  three methods in one: codes, training, fusion
        self,
        *,
        sampling_strategy="auto",
        n_groups=32,
        group_size=8,
        temperature=0.5,
        n_generations=2,
        imitation_steps=100,
        interaction_steps=300,
        quantile=0.5,
        n_neighbors=100,
        label_policy="hard",
        noise="residual",
        decoder=None,
        device="auto",
        random_state=None,
        verbose=0,
        net_params=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.n_groups = n_groups
        self.group_size = group_size
        self.temperature = temperature
        self.n_generations = n_generations
        self.imitation_steps = imitation_steps
        self.interaction_steps = interaction_steps
        self.quantile = quantile
        self.n_neighbors = n_neighbors
        self.label_policy = label_policy
        self.noise = noise
        self.decoder = decoder
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def encode(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the sparse codes of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the shape of the training samples.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_groups, group_size), or for maps \
(n_samples, n_tokens, n_groups, group_size) or (n_samples, height, width, ...)
            Numbers of a group are at least 0 and sum to 1.
        """
        Z = self._check_new(X)
        parts = encoded(self.net_.module_, Z)
        codes = np.concatenate([part.numpy() for _, part in parts])
        return codes.reshape(len(Z), *self._scaler.grid, *codes.shape[2:])

    def activation_maps(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float32]:
        """Return what each unit of a code adds to the logit of the sample's class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the shape of the training samples.

        y : array-like of shape (n_samples,)
            Class of each sample: labels of the training samples.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_groups), or for maps \
(n_samples, n_tokens) or (n_samples, height, width)
            In nats, in comparison with the mean over the classes and with the mean
            code. The logit is their mean over positions, or their sum over groups.

        Raises
        ------
        ValueError
            If `y` has labels that the training samples have not.
        """
        Z = self._check_new(X)
        check_consistent_length(Z, y)
        codes = encode_labels(y, self.classes_)
        maps = all_activations(
            self.net_.module_, Z, codes, torch.tensor(self._mean_code)
        )
        return self._to_grid(maps)

    def _check_new(self, X):
        """Return the scaled positions of samples like those of training."""
        check_is_fitted(self)
        X = check_numbers(X, self._allow_nd)
        X = validate_data(self, X, reset=False, allow_nd=True)
        if X.shape[1:] != self._scaler.sample_shape:
            raise ValueError(
                "The sampler was fitted on samples of shape "
                f"{self._scaler.sample_shape}, got {X.shape[1:]}."
            )
        return self._scaler.to_positions(X)

    def _check_X_y(self, X, y):
        X, y, binarize_y = super()._check_X_y(X, y)
        if X.ndim > 4 or 0 in X.shape:
            raise ValueError(
                "X must have the shape (n_samples, n_features), (n_samples, n_tokens, "
                "n_features) or (n_samples, n_channels, height, width), and none of "
                f"them 0; got {X.shape}."
            )
        owner = f"the {type(self).__name__}"
        check_net_params(self.net_params, RESERVED, owner, plain_forward=False)
        check_callbacks(self)
        if given_validation(self.net_params) is not None:
            raise ValueError(
                f"{owner} takes no validation samples in net_params: each of its "
                "phases must be trained to its end."
            )
        return X, y, binarize_y

    def _train(self, X, y):
        self._train_networks(X, y, check_random_state(self.random_state))

    def _train_networks(self, X, y, rng):
        """Train the networks; return scaled samples and class codes."""
        device = resolve_device(self.device)
        classes, codes = np.unique(y, return_inverse=True)
        scaler = PositionScaler.fit(X)
        Z = scaler.to_positions(X)
        net = build_net(self, *Z.shape[1:], np.bincount(codes), device)
        samples = LabelledTensors(
            place_samples(torch.from_numpy(Z), device),
            torch.from_numpy(codes).to(device),
        )
        with fork_torch_rng(draw_seeds(rng, 1)[0], device):
            net.fit(samples, samples.y)
        if net.n_finished_epochs_ < net.max_epochs:
            # The student of an unfinished generation knows too little.
            raise KeyboardInterrupt
        self.history_ = copy.deepcopy(net.history)
        net.release_training_state()
        self.classes_, self._scaler, self.net_ = classes, scaler, net
        self._mean_code = mean_code(net.module_.eval(), Z).numpy()
        return Z, codes

    def _draw_samples(self, X, y, labels):
        rng = check_random_state(self.random_state)
        Z, codes = self._train_networks(X, y, rng)
        fusion = Fusion(
            self.net_.module_,
            self._scaler,
            Z,
            codes,
            quantile=self.quantile,
            n_neighbors=self.n_neighbors,
            noise=self.noise,
        )
        fused = fusion.draw(np.searchsorted(self.classes_, labels), rng)
        if self.label_policy not in ("hard", "soft"):
            seed = draw_seeds(rng, 1)[0]
            seed = None if self.random_state is None else seed
            classifier = fit_agreement(self.label_policy, X, y, seed)
            self.n_repeated_ = redraw_refused(fusion, fused, X, labels, classifier, rng)
        self.parents_, self.masks_ = fused.parents, self._to_grid(fused.masks)
        if self.label_policy == "soft":
            self.soft_labels_ = share_labels(codes, fused)
        if self.decoder is not None:
            self.images_ = render(self.decoder, fused.samples)
        return fused.samples, labels

    def _to_grid(self, units):
        """Return a value for each unit in the shape of the positions."""
        if np.prod(self._scaler.grid) == 1:
            return units
        return units.reshape(len(units), *self._scaler.grid)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")
