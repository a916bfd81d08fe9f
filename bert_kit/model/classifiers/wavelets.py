"""Wavelets: short waves with mean zero, each at its own place and of its own width."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NARROWEST = 1e-3  # a scale never falls below this


def haar(u: Tensor) -> Tensor:
    """1 on [0, 1/2), -1 on [1/2, 1) (Haar 1910), with its three jumps smoothed.

    The true steps are flat, so nothing in front of them could learn. Each jump is a tanh(20 u)
    instead, which is within 2% of the step from a tenth away.

    Examples
    --------
    >>> haar(torch.tensor([-0.5, 0.25, 0.75, 1.5])).round(decimals=3).tolist()
    [0.0, 1.0, -1.0, 0.0]
    """
    rise, fall, end = (torch.tanh(20 * (u - jump)) for jump in (0.0, 0.5, 1.0))
    return (rise - 2 * fall + end) / 2


def mexican_hat(u: Tensor) -> Tensor:
    """2 / (sqrt(3) pi^(1/4)) (1 - u^2) exp(-u^2 / 2) (Ricker 1953): a Gaussian bent twice."""
    return 2 / (math.sqrt(3) * math.pi**0.25) * (1 - u * u) * torch.exp(-u * u / 2)


def morlet(u: Tensor) -> Tensor:
    """cos(5 u) exp(-u^2 / 2), the real part of Morlet's wavelet (Grossmann & Morlet 1984)."""
    return torch.cos(5 * u) * torch.exp(-u * u / 2)


WAVELETS = {"haar": haar, "mexican": mexican_hat, "morlet": morlet}


class WaveletBasis(nn.Module):
    """x itself and psi((x - t_k) / s_k) for k = 1 … n, with learned translations and scales.

    Source: Wav-KAN (Bozorgasl & Chen 2024), whose scales and translations belong to each
    connection; here n of them are shared by all, and a connection mixes them. They start as a
    multi-resolution analysis (Mallat 1989): translations go evenly from -2 to 2, while scales run
    through 2, 1, 1/2 and 1/4 again and again. A scale is softplus of its parameter plus a
    little, so it stays positive.

    Parameters
    ----------
    count
        Number n of wavelets.
    wavelet_type
        A key of `WAVELETS`, or "mixed": a third of each, the rest of the division to the last.
    """

    OCTAVES = 4

    def __init__(self, count: int, wavelet_type: str = "mixed") -> None:
        super().__init__()
        kinds = list(WAVELETS) if wavelet_type == "mixed" else [wavelet_type]
        sizes = [count // len(kinds)] * len(kinds)
        sizes[-1] += count - sum(sizes)
        self.families = tuple(zip(kinds, sizes, strict=True))
        places = torch.cat([(torch.arange(n) + 0.5) / max(1, n) * 4 - 2 for n in sizes])
        scales = torch.cat([2.0 ** (1 - torch.arange(n) % self.OCTAVES) for n in sizes])
        self.translations = nn.Parameter(places)
        self.raw_scales = nn.Parameter(torch.log(torch.expm1(scales - NARROWEST)))

    @property
    def scales(self) -> Tensor:
        """(n,) positive widths."""
        return F.softplus(self.raw_scales) + NARROWEST

    def forward(self, x: Tensor) -> Tensor:
        """(…) -> (…, 1 + n)."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # narrow ones need exact places
        u = (x[..., None] - self.translations) / self.scales  # (…) -> (…, n)
        parts = u.split([size for _, size in self.families], -1)
        waves = [WAVELETS[kind](part)
                 for (kind, _), part in zip(self.families, parts, strict=True)]
        return torch.cat([x[..., None], *waves], -1)

    @torch.no_grad()
    def initial_std(self) -> Tensor:
        """Return (1 + n,): sizes of coefficients that give unit variance to one input's sum.

        For x ~ N(0, 1), half of it comes from the line and half from the wavelets, E[psi_k(x)^2]
        being the sum over a grid. A coefficient starts as large as the square of its wavelet's
        scale: were narrow wavelets as strong as wide ones, a small step of x would lead to an
        unrelated y, and the encoder would be sent noise for a gradient.
        """
        x = torch.linspace(-8, 8, 4_001, device=self.translations.device)
        density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        step = 16 / 4_000
        energies = (self(x)[:, 1:].square() * density[:, None]).sum(0) * step  # (4001, n) -> (n,)
        decay = self.scales.square()
        wavelets = decay * (0.5 / (decay.square() * energies).sum()).sqrt()
        return torch.cat([wavelets.new_tensor([0.5]).sqrt(), wavelets])
