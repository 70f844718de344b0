"""Over-sampling with a conditional variational autoencoder."""

from joblib import Memory

from .._generation import check_memory_seed
from ..generators import CVAE
from ._base import BaseGenerativeOverSampler

_OWN_PARAMETERS = ("sampling_strategy", "memory")


class CVAEOverSampler(BaseGenerativeOverSampler):
    r"""Over-sample with a conditional variational autoencoder.

    Trains a :class:`~skcvae.generators.CVAE` on all classes at once, so that small
    classes borrow the shape of large ones, and fills classes up with samples drawn
    from it. Unlike SMOTE it leaves the segments between training samples, needs no
    neighbours and works for classes with a single sample.

    .. note::
        Samples are random draws of a trained model: they depend on `random_state`.
        Features are compared on one scale; put a
        :class:`~sklearn.preprocessing.StandardScaler` before it where columns have
        different units.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes to fill up, as imbalanced-learn has it: the desired ratio of
        minority to majority (binary only), "minority", "not minority", "not majority"
        ("auto"), "all", a dict from label to the number of samples after resampling, or
        a function that returns such a dict for `y`.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor :math:`\sigma^2` of the variance of the latents: one number, one for
        each class, a dict from label to number, or "auto", a little more than 1 for
        classes of few samples. It does not touch training.

    latent_dim : int, default=32
        Dimension of the latent space.

    architecture : {"small", "large"}, ConvBackbone or callable, default="small"
        One hidden layer, three residual blocks, or a factory of modules; see
        :class:`~skcvae.generators.CVAE`.

    hidden_dim : int or "auto", default=512
        Width of the networks, or "auto" for the width by which held-out samples are
        most likely; see :class:`~skcvae.generators.CVAE`.

    beta : float, default=1.0
        Weight of the KL term.

    prior : {"aggregate", "standard"}, default="aggregate"
        Where latents come from: a Gaussian fitted to those of the training samples,
        or N(0, I). It does not touch training.

    noise : {"residual"} or None, default="residual"
        Whether generated samples get the noise that the decoder leaves out. It does
        not touch training.

    objective : {"elbo", "reference"}, default="elbo"
        The evidence lower bound, or the loss of the thesis; see
        :class:`~skcvae.generators.CVAE`.

    max_epochs : int or "auto", default="auto"
        Passes over the samples. "auto" takes as many as make 600 steps, but at least 10
        and at most 300.

    batch_size : int, default=256
        Samples per step.

    lr : float, default=3e-3
        Learning rate, the peak of a one-cycle schedule.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    memory : str or joblib.Memory, default=None
        Cache of fitted generators. A grid search over `variance`, `prior`, `noise` or
        `sampling_strategy` then trains once per fold, whatever the number of workers.
        Needs an integer `random_state`. It holds fitted generators and no samples, but
        protect it as you protect the samples: the mean of a class of one sample is that
        sample.

    random_state : int, RandomState instance or None, default=None
        Seed of training and sampling.

    verbose : int, default=0
        1 shows a progress bar, 2 also skorch's table of epochs.

    net_params : dict, default=None
        Further arguments of :class:`skorch.NeuralNet`.

    Attributes
    ----------
    generator_ : CVAE
        The fitted generator; its `history_` tells how training went.

    sampling_strategy_ : dict
        Number of samples to generate for each class.

    n_features_in_ : int
        Number of features seen in :meth:`fit` or :meth:`fit_resample`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    GenerativeOverSampler : The same with any generator.
    imblearn.over_sampling.SMOTE : Interpolates between neighbours.

    References
    ----------
    .. [1] D. Tafler, "Generative Data Augmentation in the Embedding Space of Vision
       Foundation Models to Address Long-Tailed Learning and Privacy Constraints",
       master's thesis, University of Bamberg, 2024.

    Examples
    --------
    >>> from imblearn.pipeline import make_pipeline
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.over_sampling import CVAEOverSampler
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> sampler = CVAEOverSampler(max_epochs=2, device="cpu", random_state=0)
    >>> X_res, y_res = sampler.fit_resample(X, y)
    >>> X_res.shape
    (182, 20)
    >>> pipeline = make_pipeline(sampler, LogisticRegression()).fit(X, y)
    """

    _parameter_constraints: dict = {
        **BaseGenerativeOverSampler._parameter_constraints,
        **CVAE._parameter_constraints,
        "memory": [str, Memory, None],
    }

    def __init__(  # noqa: PLR0913  the headline class exposes what the CVAE has
        self,
        *,
        sampling_strategy="auto",
        variance=1.0,
        latent_dim=32,
        architecture="small",
        hidden_dim=512,
        beta=1.0,
        prior="aggregate",
        noise="residual",
        objective="elbo",
        max_epochs="auto",
        batch_size=256,
        lr=3e-3,
        device="auto",
        memory=None,
        random_state=None,
        verbose=0,
        net_params=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.variance = variance
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.hidden_dim = hidden_dim
        self.beta = beta
        self.prior = prior
        self.noise = noise
        self.objective = objective
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _make_generator(self):
        check_memory_seed(self.memory, self.random_state)
        params = self.get_params(deep=False)
        for name in _OWN_PARAMETERS:
            del params[name]
        return CVAE(**params)
