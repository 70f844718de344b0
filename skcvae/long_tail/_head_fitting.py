"""How LongTailClassifier is fitted, whatever its solver."""

import copy

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from .._blocks import Blocks, is_blocked
from .._devices import fork_torch_rng, has_float64, place_samples, resolve_device
from .._generation import (
    check_takes_unlabeled,
    clone_generator,
    fit_into,
    make_stream,
)
from .._scaling import estimate_scale, inverse_scale, scale_rows
from .._seeds import draw_seeds
from .._training import (
    check_callbacks,
    check_net_params,
    given_validation,
    uncompiled,
)
from .._validation import (
    check_unlabeled,
    check_validation,
    check_variance,
    check_weighted_samples,
)
from ..generators import ClassGaussian
from ._batches import MixedLabels, RebalancedBlockLoader, WeightedTensors, resolve_remix
from ._block_fitting import WeightedBlocks, check_block_fit, scale_of_blocks
from ._calibration import cross_fitted_temperature
from ._head_net import RESERVED, build_loss, build_net, count_epochs
from ._heads import LinearHead
from ._priors import BatchPriors, augment_probability, resolve_target_prior
from ._schedules import (
    ScheduledStream,
    check_schedules,
    scheduled,
    shares_at,
    value_at,
)
from ._solver import ClosedFormFit, resolve_solver


class HeadFittingMixin:
    """Fit of the generator, the priors and the head."""

    def _check_and_fit(self, X, y, sample_weight, groups, X_unlabeled):
        self._check_parameters()
        self.device_ = resolve_device(self.device)
        given = {"sample_weight": sample_weight, "groups": groups}
        blocked = is_blocked(X)
        if blocked:
            X, weight = check_block_fit(self, X, y, X_unlabeled=X_unlabeled, **given)
            y = X.y
        else:
            X, y, weight, groups = self._check_in_memory(X, y, **given)
            X_unlabeled = self._check_unlabeled(X_unlabeled, X)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.class_count_ = np.bincount(codes, weights=weight)
        n_samples = np.inf if blocked else len(X)
        self.solver_ = resolve_solver(self, n_samples, len(self.classes_))
        self.augment_ = self.augment
        self.sampling_ = self._resolve_sampling(self.augment_)
        priors = self._batch_priors(len(X), self.class_count_, self.augment_)
        check_schedules(self, priors.n_epochs)
        self.temperature_ = 1.0
        valid = given_validation(self.net_params)
        if valid is not None:
            check_validation(self, *valid)
        # A wrong argument of the loss shows before the generator is fitted.
        self._correct_logits(priors, priors.n_epochs - 1)
        fit_seed, stream_seed, head_seed = draw_seeds(
            check_random_state(self.random_state), 3
        )
        if self.augment is not None:
            self._try_net(len(X), priors)
            self._fit_generator(X, y, fit_seed, X_unlabeled)
        self.offset_, self.scale_ = (scale_of_blocks if blocked else estimate_scale)(X)
        stream = None
        if self.augment is not None and self.solver_ == "sgd":
            stream = self._make_stream(stream_seed, priors)
        closed_form = None
        if self.solver_ == "closed_form":
            closed_form = ClosedFormFit(self, X, codes, weight, X_unlabeled)
            self._choose_strength(closed_form, groups, head_seed)
        if self.calibration is not None:
            self.temperature_ = cross_fitted_temperature(
                self, X, y, weight, groups, head_seed, X_unlabeled
            )
        if closed_form is None:
            rows = self._to_tensors(X, codes, weight)
            self._train(rows, priors, stream, head_seed)
        else:
            self._solve(closed_form)

    def _check_in_memory(self, X, y, sample_weight, groups):
        """Return samples of positive weight, their labels, weights and groups."""
        used = slice(None) if sample_weight is None else np.asarray(sample_weight) > 0
        groups = None if groups is None else np.asarray(groups)[used]
        return *check_weighted_samples(self, X, y, sample_weight), groups

    def _choose_strength(self, closed_form, groups, seed):
        """Set `l2_`, `augment_` and `variance_`, `l2_path_` and `temperature_`."""
        self.l2_, self.l2_path_ = self.l2, None
        if self.l2 == "auto":
            choice = closed_form.choose(groups, seed)
            self.l2_, self.l2_path_ = choice.l2, choice.path
            if self.target_prior is not None:
                self.temperature_ = choice.temperature
        if closed_form.gaussians is None:
            self.augment_ = None
            self.sampling_ = self._resolve_sampling(None)
        else:
            self.variance_ = closed_form.gaussians.variance

    def _solve(self, closed_form):
        """Set `head_`, `coef_` and `intercept_`."""
        weights, bias = closed_form.solve(self.l2_)
        priors = self._batch_priors(
            len(closed_form.X), self.class_count_, self.augment_
        )
        self._correct_logits(priors, 0)
        head = LinearHead(weights.shape[1], len(weights))
        head.load_state_dict(
            {"weight": torch.from_numpy(weights), "bias": torch.from_numpy(bias)}
        )
        self.coef_ = self.logit_scale_ * weights * inverse_scale(self.scale_)
        self.intercept_ = self.logit_scale_ * bias + self.logit_correction_
        self.intercept_ = self.intercept_ - self.coef_ @ self.offset_
        self.head_ = head.eval()

    def _check_unlabeled(self, X_unlabeled, X):
        """Return unlabelled samples, or None; refuse them without a use for them."""
        if X_unlabeled is None:
            return None
        if self.augment is None:
            raise ValueError(
                "X_unlabeled is for the generator, and augment=None takes none. Leave "
                "it out, or set augment."
            )
        if self.generator is not None:
            check_takes_unlabeled(self.generator)
        return check_unlabeled(self, X_unlabeled, X)

    def _fit_generator(self, X, y, seed, X_unlabeled):
        generator = ClassGaussian() if self.generator is None else self.generator
        generator = clone_generator(generator, self.random_state, self.memory, seed)
        if self.variance is not None and not callable(self.variance):
            check_variance(self.variance, self.classes_)
        fit_into(self, generator, X, y, self.memory, X_unlabeled)

    def _make_stream(self, seed, priors=None):
        """Return what draws scaled samples of sorted codes from the generator.

        `priors` tells a scheduled variance the epochs and validation losses.
        """
        if not callable(self.variance):
            return self._stream_of(self.variance, seed)
        rng = check_random_state(seed)

        def variance_at(epoch):
            return value_at(self.variance, epoch, priors.n_epochs, priors.valid_losses)

        def stream_of(variance):
            return self._stream_of(variance, draw_seeds(rng, 1)[0])

        return ScheduledStream(stream_of, variance_at)

    def _stream_of(self, variance, seed):
        draw = make_stream(
            self.generator_, self.classes_, self.device_, variance=variance, seed=seed
        )
        offset, scale = (
            torch.as_tensor(a, dtype=torch.float32, device=self.device_)
            for a in (self.offset_, self.scale_)
        )
        factor = torch.where(scale > 0, 1 / scale, 0.0)

        def stream(codes, torch_generator):
            return draw(codes, torch_generator).sub(offset).mul_(factor)

        return stream

    def _check_parameters(self):
        """Check what parameters say together, before anything is trained."""
        check_net_params(
            self.net_params, RESERVED, "the classifier (criterion: `loss`)"
        )
        check_callbacks(self)
        if not scheduled(self):
            shares_at(self, 0, 1, ())
        if self.calibration is not None and self.target_prior is None:
            raise ValueError(
                "calibration needs a target_prior, and it is None. Use 'train' or "
                "'uniform'."
            )
        if not isinstance(self.loss, nn.Module):
            return
        if self.loss_params:
            raise ValueError(
                "loss_params are for a loss that is given by name. Set "
                f"{sorted(self.loss_params)} on the {type(self.loss).__name__} itself."
            )
        if not hasattr(self.loss, "reduction"):
            raise ValueError(
                "loss must have the attribute `reduction`, as torch's losses have: "
                "samples are weighted one by one."
            )

    def _resolve_sampling(self, augment):
        """Return the sampling in use; "auto" depends on what was made of `augment`."""
        if self.sampling != "auto":
            return self.sampling
        return "sqrt" if augment == self.augment else "balanced"

    def _batch_priors(self, n_samples, class_count, augment):
        """Return the class priors of the batches to come."""
        n_epochs = count_epochs(self, n_samples)

        def p_augment(epoch, valid_losses):
            shares = shares_at(self, epoch, n_epochs, valid_losses)
            return augment_probability(augment, class_count, *shares)

        return BatchPriors(
            class_count=class_count,
            sampling=self._resolve_sampling(augment),
            p_augment=p_augment if scheduled(self) else p_augment(0, ()),
            generated_weight=self.generated_weight,
            remix=resolve_remix(self.remix),
            correction=self.prior_correction,
            tau=self.tau,
            n_epochs=n_epochs,
        )

    def _correct_logits(self, priors, last_epoch):
        """Set the priors, and what the logits need to predict for the target."""
        loss = build_loss(self.loss, self.loss_params, priors, last_epoch)
        self.effective_prior_ = priors.effective(last_epoch)
        self.logit_scale_ = getattr(loss, "logit_scale", 1.0) / self.temperature_
        self.logit_correction_ = np.zeros(len(self.classes_))
        self.target_prior_ = None
        if self.target_prior is not None:
            self.target_prior_ = resolve_target_prior(
                self.target_prior, self.class_count_
            )
            left = priors.log_prior_left(loss, last_epoch)
            with np.errstate(divide="ignore"):
                self.logit_correction_ = np.log(self.target_prior_) - left
            self.logit_correction_ /= self.temperature_

    def _convert_validation(self, X, y):
        """Return samples and labels of the user as the head reads them."""
        X, codes = check_validation(self, X, y)
        return self._to_tensors(X, codes, np.ones(len(codes)))

    def _to_tensors(self, X, codes, weight):
        """Return scaled samples, class codes and weights as training reads them."""
        if not has_float64(self.device_):
            weight = weight.astype(np.float32)
        if isinstance(X, Blocks):
            scaling = self.offset_, self.scale_
            return WeightedBlocks(X, codes, weight, *scaling, self.device_)
        z = torch.from_numpy(scale_rows(X, self.offset_, self.scale_))
        y, w = (torch.from_numpy(a).to(self.device_) for a in (codes, weight))
        return WeightedTensors(place_samples(z, self.device_), y, w)

    def _try_net(self, n_samples, priors):
        """Refuse a head, a loss or net_params that fail, before a generator is fitted.

        Without a generator, the first batch shows it as early.
        """
        if self.solver_ != "sgd":
            return
        net = build_net(self, n_samples, priors, None)
        codes = torch.arange(2, device=self.device_)
        with fork_torch_rng(0, self.device_), torch.no_grad():
            net.initialize()
            z = torch.zeros(2, self.n_features_in_, device=self.device_)
            net.get_loss(uncompiled(net.module_)(z), MixedLabels(codes), training=True)

    def _train(self, rows, priors, stream, seed):
        """Train the head; set `net_`, `history_` and what Ctrl-C leaves."""
        net = build_net(self, len(rows), priors, stream)
        if isinstance(rows, WeightedBlocks):
            net.set_params(iterator_train=RebalancedBlockLoader)
        with fork_torch_rng(seed, self.device_):
            net.fit(rows, rows.y)
        if not net.n_finished_epochs_:
            raise KeyboardInterrupt
        self.history_ = copy.deepcopy(net.history)
        # Training may have been stopped, or weights of an earlier epoch restored.
        self._correct_logits(priors, net.kept_epoch())
        net.release_training_state()
        self.net_, self.head_ = net, net.module_
        if net.interrupted_:
            raise KeyboardInterrupt
