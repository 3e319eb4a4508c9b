"""The score function: the logits learn from how well each image's architecture does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pdnas.nn.supernets.categorical.estimators.base import GradientEstimator, register
from pdnas.space.chain import rows_used


@register("score")
class ScoreFunction(GradientEstimator):
    """Architectures are drawn, and compared with a leave-one-out baseline."""

    def surrogate(self, logits: Tensor, drawn: Tensor, nll: Tensor, order: Sequence[int]) -> Tensor:
        """Its gradient estimates ∇ E_q[NLL].

        With the NLLs v_i of n architectures a_i, the estimate is the mean of
        (v_i - mean of the other v_j) ∇ log q(a_i): blind to what all have in common, and unbiased
        if an architecture's NLL depends on it alone. (Where images of several share BatchNorm
        statistics, what one does to the NLL of the others is left out.)
        """
        n = len(nll)
        advantage = (nll - nll.mean()) * (n / max(n - 1, 1))  # of one image: nothing to learn
        log_q = torch.log_softmax(logits, dim=2)
        switches = torch.arange(len(log_q), device=nll.device)
        rows = rows_used(drawn, log_q.shape[1], order)
        log_drawn = log_q[switches, rows, drawn].sum(dim=1)
        surrogate = (advantage * log_drawn).mean()
        return surrogate - surrogate.detach()
