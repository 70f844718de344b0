"""The books of the priors: what batches have, and what is left in the logits."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._losses import effective_number_weights
from ._priors import effective_prior, mean_remix_share, sampling_prior


@dataclass
class PriorBookkeeping:
    """How batches are made, and the class priors that follow from it.

    Attributes
    ----------
    class_count : ndarray of shape (n_classes,)
        Rows, or sum of their weights, of each class.

    sampling : str or float
        As in LongTailClassifier.

    p_augment : ndarray of shape (n_classes,)
        Probability that a row is replaced by a generated one of its class.

    generated_weight : float
        Weight of generated rows in the loss.

    remix : dict or None
        alpha, kappa and tau.

    correction : {"effective", "original"} or None
        Prior that is taken to be in the logits.

    tau : float
        Exponent of its correction.

    n_epochs : int
        Number of epochs.
    """

    class_count: np.ndarray
    sampling: str | float
    p_augment: np.ndarray
    generated_weight: float
    remix: dict | None
    correction: str | None
    tau: float
    n_epochs: int

    def drawn(self, epoch):
        """Return the class prior of the rows that the batches of an epoch draw."""
        progress = epoch / max(self.n_epochs - 1, 1)
        return sampling_prior(self.sampling, self.class_count, progress)

    def effective(self, epoch):
        """Return the class prior that the loss sees in an epoch."""
        return effective_prior(
            self.drawn(epoch), self.p_augment, self.generated_weight, self._remix_share
        )

    @cached_property
    def _remix_share(self):
        """Mean shares of Remix: one matrix for all epochs."""
        if self.remix is None:
            return None
        return mean_remix_share(self.class_count, **self.remix)

    def corrected_count(self, epoch):
        """Return class counts with the prior to correct, to the power tau."""
        prior = self._prior_to_correct(epoch) ** self.tau
        return prior / prior.sum() * self.class_count.sum()

    def log_prior_left(self, loss, loss_params, epoch):
        r"""Return what is left to correct in trained logits, up to a constant.

        :math:`\tau \log \pi` for the prior to correct, and the log of the class weights
        of a loss, which the logits learn whole.

        Parameters
        ----------
        loss : str or nn.Module
            As in LongTailClassifier.

        loss_params : dict or None
            Of the loss.

        epoch : int
            The last one, from 0 on.

        Returns
        -------
        ndarray of shape (n_classes,)
        """
        corrected_by_loss = ("balanced_softmax", "logit_adjusted", "equalization")
        if self.correction is None or loss in corrected_by_loss:
            return np.zeros(len(self.class_count))
        left = self.tau * np.log(self._prior_to_correct(epoch))
        params = loss_params or {}
        if loss == "class_balanced":
            count, beta = self.corrected_count(epoch), params.get("beta", 0.999)
            left += np.log(effective_number_weights(count, beta))
        elif loss == "ldam" and self._reweights(params, epoch):
            beta = params.get("reweight_beta", 0.9999)
            left += np.log(effective_number_weights(self.class_count, beta))
        return left

    def _reweights(self, params, epoch):
        """Tell whether LDAM has begun to weight the rows."""
        start = params.get("reweight_after")
        return start is not None and epoch / self.n_epochs >= start

    def _prior_to_correct(self, epoch):
        if self.correction == "effective":
            return self.effective(epoch)
        return self.class_count / self.class_count.sum()
