"""The score function: the logits learn from how well each image's cell does."""

from __future__ import annotations

import torch
from torch import Tensor

from pdnas.nn.supernets.cells.estimators.base import GradientEstimator, register
from pdnas.space.cells import EDGES
from pdnas.space.chain import rows_used


@register("score")
class ScoreFunction(GradientEstimator):
    """Cells are drawn, and compared with a leave-one-out baseline."""

    def surrogate(self, logits: Tensor, drawn: Tensor, nll: Tensor) -> Tensor:
        """Its gradient estimates ∇ E_q[NLL].

        With the NLLs v_i of n cells a_i, the estimate is the mean of
        (v_i - mean of the other v_j) ∇ log q(a_i): blind to what all have in common, and unbiased
        if a cell's NLL depends on it alone. (Where images of several cells share BatchNorm
        statistics, what a cell does to the NLL of the others is left out.)
        """
        n = len(nll)
        advantage = (nll - nll.mean()) * (n / max(n - 1, 1))  # of one image: nothing to learn
        log_q = torch.log_softmax(logits, dim=2)
        edges = torch.arange(len(EDGES), device=nll.device)
        rows = rows_used(drawn, log_q.shape[1])
        log_cells = log_q[edges, rows, drawn].sum(dim=1)
        surrogate = (advantage * log_cells).mean()
        return surrogate - surrogate.detach()
