"""Muon: matrices are moved by an orthogonal step, in which every direction counts the same."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MATRICES = "matrices"  # the `part` of the groups that take such steps
MOMENTUM = 0.95
ROUNDS = 5
A, B, C = 3.4445, -4.7750, 2.0315  # steepest at 0, so that small singular values grow fast
RMS = 0.2  # of an AdamW step, about; Liu et al. 2025, section 2.2


def orthogonalize(matrices: Tensor) -> Tensor:
    """Matrices (N, P, Q) -> (N, P, Q) in bfloat16: U V^T of each U S V^T, nearly.

    Five rounds of X <- a X + b (X X^T) X + c (X X^T)^2 X bring every singular value near 1,
    from about .7 to 1.2 (Jordan 2024, "Muon: An optimizer for hidden layers in neural networks").
    Matrices of one shape share each product: on a CPU that halves the time.

    Examples
    --------
    >>> wide = orthogonalize(torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0)))
    >>> bool((torch.linalg.svdvals(wide.float()) < 1.3).all())
    True
    """
    tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if tall else matrices).bfloat16().contiguous()  # the smaller Gram matrix
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value is above 1
    for _ in range(ROUNDS):
        gram = torch.bmm(x, x.mT)
        gram = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)  # b (X X^T) + c (X X^T)^2
        x = torch.baddbmm(x, gram, x, beta=A)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for the parameter groups whose `part` is "matrices", AdamW for all others.

    A step of Muon: M <- mu M + (1 - mu) G, then W <- W - lr (decay W + r O), where O is
    `orthogonalize` of (1 - mu) G + mu M, and r = .2 sqrt(max(P, Q)) gives the step the size of one
    of AdamW, so that rates and decays mean the same in both (Liu et al. 2025, "Muon is Scalable
    for LLM Training", section 2.2). A group says how many matrices are `joined` in each of its
    parameters, one above the other, such as query, key and value: each takes a step of its own.

    Parameters
    ----------
    groups
        As `parameter_groups` gives them.
    lr
        Of groups without a rate of their own.
    betas, eps
        Of AdamW.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        rest = torch.optim.AdamW([torch.zeros(1)], lr, betas, eps, fused=True)
        super().__init__(groups, dict(rest.defaults))
        self._adamw = rest

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._adamw = torch.optim.AdamW([torch.zeros(1)], fused=True, **{
            name: self.defaults[name] for name in ("lr", "betas", "eps")})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take one step; a parameter without a gradient stays."""
        rest = [group for group in self.param_groups if group.get("part") != MATRICES]
        # One state for both: a checkpoint holds it under the parameters' numbers.
        self._adamw.state, self._adamw.param_groups = self.state, rest
        self._adamw.step()
        for group in self.param_groups:
            if group.get("part") == MATRICES:
                self._step_matrices(group)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Step the matrices of a group, those of one shape together."""
        of_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            ahead = parameter.grad.lerp(momentum, MOMENTUM)  # Nesterov's
            count = group["joined"]
            for weight, gradient in zip(parameter.chunk(count), ahead.chunk(count), strict=True):
                of_shape.setdefault(weight.shape, []).append((weight, gradient))
        for shape, pairs in of_shape.items():
            steps = orthogonalize(torch.stack([gradient for _, gradient in pairs]))
            size = group["lr"] * RMS * math.sqrt(max(shape))
            for (weight, _), step in zip(pairs, steps, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-size)

