"""Conditional flow matching as an estimator."""

import copy
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions

from .._class_means import residual_covariance
from .._thin_covariance import check_size
from .._training import TensorLoader, uncompiled
from ._class_whitening import fit_class_whitening
from ._decoder import DecoderMixin
from ._flow_net import FlowSampler, build_net, integrate_dopri5, integrate_midpoint
from ._net_generator import NetGenerator


class FlowMatching(DecoderMixin, NetGenerator):
    r"""Conditional flow matching on embeddings.

    A sample is noise that follows a learned velocity from :math:`t = 0` to
    :math:`t = 1`. On the straight path :math:`x_t = (1 - t) \, \varepsilon + t \, x`
    from noise to a training sample, the velocity network minimises [1]_ [2]_

    .. math::
        E_{t, \varepsilon, (x, y)} \| v(x_t, t, y) - (x - \varepsilon) \|^2 .

    Here, x is the residual of a sample around the mean that its class has without it,
    in coordinates where the residuals of all classes have unit covariance. The noise is
    :math:`\varepsilon \sim N(0, \Sigma_y)`, with
    :math:`\Sigma_y = (n_y S_y + k I) / (n_y + k)`: the covariance of the class, shrunk
    towards that of all classes by an amount estimated from the data. The untrained
    velocity is that of Gaussian samples. Training thus starts from a Gaussian with a
    mean and a covariance for each class, and the network learns what is not Gaussian.
    Labels enter as a learned bias for each class.

    Prefer it to :class:`CVAE` where covariances differ between classes, or where
    classes have shapes that no Gaussian has, such as several clusters. Prefer
    :class:`CVAE` where a latent vector for each sample is of use, and
    :class:`ClassGaussian` where time is short.

    Parameters
    ----------
    guidance : float, default=1.0
        Weight w of classifier-free guidance [3]_: samples follow
        :math:`v_{any} + w \, (v_y - v_{any})`. 1 is what was learned. More exaggerates
        how the shape of a class differs from that of all classes, at twice the cost.
        0 is the velocity of all classes. The mean of a class is not part of it. It
        does not touch training.

    label_dropout : float, default=0.1
        Probability in [0, 1) with which a sample is trained without its label, for
        :math:`v_{any}`. At 0, `guidance` must be 1.

    solver : {"midpoint", "dopri5"}, default="midpoint"
        "midpoint" takes `n_steps` equal steps of second order. "dopri5", of fifth
        order, takes as many as keep the error of each step below `tol`.
        It does not touch training.

    n_steps : int, default=5
        Steps of the midpoint rule. It does not touch training.

    tol : float, default=1e-4
        Absolute and relative error of a step of "dopri5", in units of the standard
        deviation within a class. It does not touch training.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor of the variance of the noise at sampling: one number, one for each class
        in the order of `classes_`, or a dict from label to number (1 for the labels it
        lacks), or "auto" as in :class:`ClassGaussian`. It does not touch training.

    max_epochs : int or "auto", default="auto"
        Passes over the samples. "auto" takes as many as make 1000 steps, but at least
        10 and at most 300.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=2e-3
        Learning rate: the peak of a one-cycle schedule.
        ``net_params={"callbacks__lr_schedule": None}`` switches the schedule off.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, training and sampling. The same integer gives the same
        bits on the same device and number of threads. NumPy's and torch's global
        random states are neither read nor changed.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`, for example `callbacks`,
        `train_split`, `optimizer`, `module__hidden_dim` (256), `module__n_blocks` (2)
        or `module__dropout` (0.1). Callbacks are added to ours.
        ``{"precision": "bf16"}`` computes the products of training in bfloat16.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of training samples of each class.

    class_means_ : ndarray of shape (n_classes, n_features)
        Shrunk class means, in scaled units: (x - `offset_`) / `scale_`.

    mean_shrinkage_ : float
        Number of pseudo-samples at the overall mean by which they are shrunk.

    covariance_shrinkage_ : float
        Number k of pseudo-samples by which the covariances of the classes are shrunk;
        infinite where they do not differ.

    whitening_ : ClassWhitening
        The coordinates that the network works in. With many classes, covariances
        differ in the leading principal components only: as many as take 64 MiB.

    history_ : skorch.history.History
        One entry per epoch: `train_loss` (squared error per feature), `dur` (seconds),
        and the same of a validation set where there is one.
        ``history_[:, "train_loss"]`` is a list.

    net_ : skorch.NeuralNet
        The trained net, trimmed for prediction, on the CPU.

    device_ : torch.device
        Where it was trained.

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share (0 for constant features).

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAE : The conditional variational autoencoder.
    ClassGaussian : One Gaussian for each class, in closed form.
    skcvae.over_sampling.GenerativeOverSampler : Fills up classes with any generator.

    Notes
    -----
    Ctrl-C during training raises :class:`KeyboardInterrupt`; the estimator then has the
    weights of the last finished epoch, or is unfitted if there was none.

    References
    ----------
    .. [1] Y. Lipman, R. Chen, H. Ben-Hamu, M. Nickel and M. Le, "Flow Matching for
       Generative Modeling", ICLR 2023, arXiv 2210.02747.
    .. [2] X. Liu, C. Gong and Q. Liu, "Flow Straight and Fast: Learning to Generate and
       Transfer Data with Rectified Flow", ICLR 2023, arXiv 2209.03003.
    .. [3] J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022,
       arXiv 2207.12598.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import FlowMatching
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = FlowMatching(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    """

    _sampling_parameters: tuple[str, ...] = (
        "guidance",
        "solver",
        "n_steps",
        "tol",
        "variance",
        "verbose",
    )
    _memory_advice = "a smaller batch_size, net_params={'module__hidden_dim': 128}"

    _parameter_constraints: dict = {
        **NetGenerator._parameter_constraints,
        "guidance": [Interval(Real, 0, None, closed="left")],
        "label_dropout": [Interval(Real, 0, 1, closed="left")],
        "solver": [StrOptions({"midpoint", "dopri5"})],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        # float32 cannot keep to less.
        "tol": [Interval(Real, 1e-6, 1, closed="left")],
    }

    def __init__(  # noqa: PLR0913  training and sampling have six each
        self,
        *,
        guidance: float = 1.0,
        label_dropout: float = 0.1,
        solver: str = "midpoint",
        n_steps: int = 5,
        tol: float = 1e-4,
        variance: ArrayLike | dict = 1.0,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        lr: float = 2e-3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        net_params: dict | None = None,
    ) -> None:
        self.guidance = guidance
        self.label_dropout = label_dropout
        self.solver = solver
        self.n_steps = n_steps
        self.tol = tol
        self.variance = variance
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _fit(self, Z, codes, seed):
        self._check_guidance()
        check_size(*2 * Z.shape[1:], "FlowMatching")
        super()._fit(Z, codes, seed)

    def _check_guidance(self):
        """Refuse guidance by a velocity that was never trained."""
        if self.guidance != 1 and not self.label_dropout:
            raise ValueError(
                f"guidance={self.guidance!r} needs a velocity for samples of any "
                "class, which label_dropout=0 does not train. Use label_dropout=0.1, "
                "or guidance=1."
            )

    def _centre(self, Z, codes):
        residuals = super()._centre(Z, codes)
        self.whitening_ = fit_class_whitening(
            residuals, codes, len(self.classes_), residual_covariance(residuals)
        )
        self.covariance_shrinkage_ = self.whitening_.k0
        return (residuals @ self.whitening_.whitener).astype(np.float32)

    def _residuals(self, Z, codes):
        return super()._residuals(Z, codes) @ self.whitening_.whitener

    def _build_net(self, n_samples, device):
        return build_net(self, n_samples, device)

    @torch.inference_mode()
    def _learn_sampling(self, net, data):
        """Refuse weights that diverged in the last step, after the last loss."""
        module = uncompiled(net.module_)
        velocity = module.eval().velocity
        for batch, x in TensorLoader(data, 4096):
            t = torch.full((len(x),), 0.5, device=x.device)
            if not velocity(x, t, batch["y"]).isfinite().all():
                raise FloatingPointError(
                    "The weights diverged in the last step: velocities are not finite. "
                    "The estimator is left unfitted. Use a smaller lr."
                )
        # `whitening_` keeps it.
        module.factor = net.module__factor = None

    def _make_sampler(self):
        self._check_guidance()
        if self.solver == "dopri5":
            solve = partial(integrate_dopri5, tol=self.tol)
        else:
            solve = partial(integrate_midpoint, n_steps=self.n_steps)
        return FlowSampler(
            copy.deepcopy(self.net_.module_.velocity).eval(),
            torch.tensor(self.whitening_.factor, dtype=torch.float32),
            torch.tensor(self.whitening_.colouring, dtype=torch.float32),
            solve,
            self.guidance,
        )
