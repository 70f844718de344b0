"""Over-sampling with class-specific parts of tail rows in head rows."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from ..._training import (
    LabelledTensors,
    check_net_params,
    draw_seeds,
    fork_torch_rng,
    resolve_device,
)
from ..._validation import check_numbers
from .._base import BaseDenseOverSampler
from ._activation_maps import all_activations, encode_all, mean_code
from ._fusion import Fusion, render
from ._iterated_learning import RESERVED, build_net
from ._label_policies import fit_classifier, redraw_refused, share_labels
from ._positions import PositionScaler


class HeadTailFusionSampler(BaseDenseOverSampler):
    r"""Over-sample with class-specific parts of tail rows in head rows.

    Follows [1]_, with small networks in place of a diffusion model. A new row is made
    of a row t of its class, the tail, and a row h of a larger one, the head:

    1. An encoder gives each row, or each position of a map, a sparse code: groups of
       numbers, each on a simplex [2]_. A linear classifier and a decoder read it.
    2. They are trained by iterated learning [3]_: each generation, a student learns for
       a few steps the codes that a teacher gives, and then the task. Codes that are
       easy to learn come through, and those are compositional.
    3. Class activation maps tell what each unit of a code adds to the logit of the
       row's class. Units are the positions of a map, and of vectors the groups. Those
       from a quantile on are specific to the class, the others generic.
    4. h is drawn among the nearest neighbours of t by the direction of their maps.
    5. Units that are generic in both rows come from h, all others from t. The decoder
       brings the code back to features.

    .. note::
        The paper reports that classifiers are worse with its images than without. In
        the tables of the user guide, :class:`CVAEOverSampler` is better and faster.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as imbalanced-learn has it: the desired ratio of
        minority to majority (binary only), "minority", "not minority", "not majority"
        ("auto"), "all", a dict from label to the number of rows after resampling, or a
        function that returns such a dict for `y`. Classes without a larger one take
        all others for their head.

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
        Quantile of the activation of the units of a row, in [0, 1], from which on they
        are specific to its class. 0 leaves nothing to the head row.

    n_neighbors : int, default=100
        Nearest head rows, by their maps, that a partner is drawn from. A class of m
        rows has at most m times as many different new ones.

    label_policy : {"hard", "soft", "agreement"} or classifier, default="hard"
        Labels of new rows. "hard": that of the tail. "soft": the same, and
        `soft_labels_` shares it between tail and head as the units are. "agreement":
        that of the tail, and rows that a classifier takes for another class are drawn
        again, up to ten times; then they repeat the tail row. The classifier is the
        one given, or :class:`~sklearn.linear_model.LogisticRegression` with balanced
        class weights; it is fitted on the training rows, averaged over positions.

    noise : {"residual"} or None, default="residual"
        What is added to decoded rows. "residual": what the decoder leaves out. In
        maps, of the row that a position comes from, whose features it then has. For
        vectors, of the head row, around the mean of the tail's class.

    decoder : callable, default=None
        Renders new rows, for example from the latents of an autoencoder to images: a
        function of an array of shape (n, ...), a part of the new rows, that returns an
        array of as many.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is a GPU, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of training and fusion.

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
        Number of rows to add to each class.

    parents_ : ndarray of shape (n_new, 2)
        Index of tail and head row. Set by :meth:`fit_resample`, as what follows.

    masks_ : ndarray of shape (n_new, n_groups), (n_new, n_tokens) or (n_new, h, w)
        True where a unit comes from the tail row.

    soft_labels_ : ndarray of shape (n_samples_new, n_classes)
        Share of each class in the label of each row, the training rows included. Only
        with ``label_policy="soft"``.

    n_repeated_ : int
        Number of new rows that the classifier refused ten times. Only with agreement.

    images_ : ndarray of shape (n_new, ...)
        What `decoder` returned. Only where there is one.

    n_features_in_ : int
        Length of the second axis of `X`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    RemixSampler : Mixes all features of two rows.

    Notes
    -----
    `X` holds vectors (n, d), patch tokens (n, tokens, d) or feature maps (n, c, h, w),
    such as those of ``FoundationEmbedder(pooling="map")``. New rows have the shape of
    the old ones. Codes of maps are made in parts, and never all in memory.

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

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Train the networks, without resampling.

        :meth:`fit_resample` trains too.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training rows: vectors, patch tokens or feature maps.

        y : array-like of shape (n_samples,)
            Class of each row.

        Returns
        -------
        self : object
            The fitted sampler.
        """
        X, y = self._check_and_count(X, y)
        self._train(X, y, check_random_state(self.random_state))
        return self

    def encode(self, X):
        """Return the sparse codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows of the shape of the training rows.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_groups, group_size), or for maps \
(n_samples, n_tokens, n_groups, group_size) or (n_samples, height, width, ...)
            Numbers of a group are at least 0 and sum to 1.
        """
        X = self._check_new(X)
        codes = encode_all(self.net_.module_, self._scaler.to_positions(X))
        return codes.reshape(len(X), *self._scaler.grid, *codes.shape[2:])

    def activation_maps(self, X, y):
        """Return what each unit of the code of a row adds to the logit of its class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows of the shape of the training rows.

        y : array-like of shape (n_samples,)
            Class of each row: labels of the training rows.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_groups), or for maps \
(n_samples, n_tokens) or (n_samples, height, width)
            In nats, in comparison with the mean over the classes and with the mean
            code. The logit is their mean over positions, or their sum over groups.

        Raises
        ------
        ValueError
            If `y` has labels that the training rows have not.
        """
        X, y = self._check_new(X), np.asarray(y)
        check_consistent_length(X, y)
        if unseen := np.setdiff1d(y, self.classes_).tolist():
            raise ValueError(f"y contains unseen labels: {unseen[:5]}.")
        codes, Z = np.searchsorted(self.classes_, y), self._scaler.to_positions(X)
        maps = all_activations(self.net_.module_, Z, codes, self._mean_code)
        return self._to_grid(maps)

    def _check_new(self, X):
        check_is_fitted(self)
        check_numbers(X)
        X = validate_data(self, X, reset=False, allow_nd=True)
        if X.shape[1:] != self._scaler.row_shape:
            raise ValueError(
                f"The sampler was fitted on rows of shape {self._scaler.row_shape}, "
                f"got {X.shape[1:]}."
            )
        return X

    def _check_X_y(self, X, y):
        X, y, binarize_y = super()._check_X_y(X, y)
        if X.ndim > 4 or 0 in X.shape:
            raise ValueError(
                "X must have the shape (n_samples, n_features), (n_samples, n_tokens, "
                "n_features) or (n_samples, n_channels, height, width), and none of "
                f"them 0; got {X.shape}."
            )
        check_net_params(self.net_params, RESERVED, type(self).__name__)
        return X, y, binarize_y

    def _train(self, X, y, rng):
        """Train the networks; return scaled rows and class codes."""
        device = resolve_device(self.device)
        classes, codes = np.unique(y, return_inverse=True)
        scaler = PositionScaler.fit(X)
        Z = scaler.to_positions(X)
        net = build_net(self, *Z.shape[1:], np.bincount(codes), device)
        rows = LabelledTensors(
            torch.from_numpy(Z).to(device), torch.from_numpy(codes).to(device)
        )
        with fork_torch_rng(draw_seeds(rng, 1)[0], device):
            net.fit(rows, rows.y)
        if net.n_finished_epochs_ < net.max_epochs:
            # The student of an unfinished generation knows too little.
            raise KeyboardInterrupt
        self.history_ = copy.deepcopy(net.history)
        net.release_training_state()
        self.classes_, self._scaler, self.net_ = classes, scaler, net
        self._mean_code = mean_code(net.module_.eval(), Z)
        return Z, codes

    def _draw_rows(self, X, y, labels):
        rng = check_random_state(self.random_state)
        Z, codes = self._train(X, y, rng)
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
            classifier = fit_classifier(self.label_policy, X, y, draw_seeds(rng, 1)[0])
            self.n_repeated_ = redraw_refused(fusion, fused, X, labels, classifier, rng)
        self.parents_, self.masks_ = fused.parents, self._to_grid(fused.masks)
        if self.label_policy == "soft":
            self.soft_labels_ = share_labels(codes, fused)
        if self.decoder is not None:
            self.images_ = render(self.decoder, fused.rows)
        return fused.rows, labels

    def _to_grid(self, units):
        """Return a value for each unit in the shape of the positions."""
        if np.prod(self._scaler.grid) == 1:
            return units
        return units.reshape(len(units), *self._scaler.grid)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")
