"""Every rule of the book as a student would write it: one step, in plain torch, in the paper's symbols.

A rule takes the weights ``w``, the gradient ``g`` of the loss at ``w`` and what the rule remembers, and returns
the new ones; it changes nothing in place. What it remembers has the shape of ``w`` and starts at 0, unless the
rule says otherwise; ``t`` is the number of the step, from 1. The settings have names::

    w, m, v = adamw(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, lam=0.01)

Of the settings, ``lr`` is η, in the unit of the weights where a rule divides by the gradient's size, and of
weight / gradient in SGD; ``lam`` is λ, the strength of L2 or decay; ``l1`` that of an L1 penalty, in the unit
of the gradient, as ``eps`` (ε) is; ``mu`` (μ), ``alpha`` (α), ``beta1`` and ``beta2`` (β₁, β₂) are the parts
that are kept, in [0, 1).

The same rules as in :mod:`lessons.optim`, and so in ``torch.optim``: equal to the last bit where no operation
rounds. Where one does, the last digits may differ, for torch rounds a product and the sum it enters once, on
processors that can, and a line that reads like the paper rounds twice. ``tests/test_textbook.py`` says how far.
"""

import torch

# --- SGD ----------------------------------------------------------------------------------------


def sgd(w, g, *, lr):
    """Gradient descent: a step against the gradient. Source: Robbins and Monro (1951)."""
    w = w - lr * g
    return w


def sgd_l2(w, g, *, lr, lam):
    """SGD + L2: the penalty ½ λ·‖w‖² adds its gradient λ·w. Source: Krogh and Hertz (1991)."""
    g = g + lam * w  # coupled
    w = w - lr * g
    return w


def sgd_decay(w, g, *, lr, lam):
    """SGD with decoupled decay, here the same as L2. Source: Loshchilov and Hutter (2019)."""
    w = w - lr * lam * w  # decoupled
    w = w - lr * g
    return w


def momentum(w, g, b, *, lr, mu):
    """SGD with momentum: the buffer ``b`` is a sum, not a mean. Source: Polyak (1964), in torch's form."""
    b = mu * b + g
    w = w - lr * b
    return w, b


def nesterov(w, g, b, *, lr, mu):
    """Nesterov's momentum: the newest gradient counts once more. Source: Sutskever et al. (2013)."""
    b = mu * b + g
    w = w - lr * (g + mu * b)
    return w, b


# --- a rate for each weight -----------------------------------------------------------------------


def adagrad(w, g, G, *, lr, eps):
    """Adagrad: ``G`` is the sum of all squared gradients. Source: Duchi, Hazan and Singer (2011), diagonal."""
    G = G + g**2
    w = w - lr * g / (G.sqrt() + eps)
    return w, G


def rmsprop(w, g, v, *, lr, alpha, eps):
    """RMSprop: ``v`` is a running mean of squares. Source: Tieleman and Hinton (2012), lecture 6.5."""
    v = alpha * v + (1 - alpha) * g**2
    w = w - lr * g / (v.sqrt() + eps)
    return w, v


def adam(w, g, m, v, t, *,
         lr, beta1, beta2, eps):
    """Adam: running means of the gradient and its square. Source: Kingma and Ba (2015), Algorithm 1."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def adam_l2(w, g, m, v, t, *,
            lr, beta1, beta2, eps, lam):
    """Adam + L2: λ·w joins the gradient, and so both means. Source: ``torch.optim.Adam``'s weight_decay."""
    g = g + lam * w  # coupled
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def adamw(w, g, m, v, t, *,
          lr, beta1, beta2, eps, lam):
    """AdamW: λ·w has moved out of the gradient, past both means; it shrinks the weight itself, by lr·λ·w.

    torch decays first: the same, since the means do not look at w. Source: Loshchilov and Hutter (2019),
    Algorithm 2, with lr in the decay as torch has it.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * lam * w  # decoupled
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def adamw_paper(w, g, m, v, t, *, lr, s,
                beta1, beta2, eps, lam):
    """AdamW as published: the decay is λ·w times the schedule's factor ``s`` alone, whatever lr is.

    ``lr`` is this step's: s times the lr at the peak, where s is 1. The paper writes α for the latter and η for
    s. Source: Loshchilov and Hutter (2019), Algorithm 2, line 12.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - s * lam * w  # decoupled
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def amsgrad(w, g, m, v, v_max, t, *,
            lr, beta1, beta2, eps):
    """AMSGrad: divides by the largest ``v`` so far. Source: Reddi, Kale and Kumar (2018), Algorithm 2.

    As torch has it: the largest of the uncorrected ``v``, then the hats, which the paper leaves out.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_max = torch.maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = v_max / (1 - beta2**t)
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v, v_max


# --- L1: exact zeros ------------------------------------------------------------------------------


def soft_threshold(w, threshold):
    """Move each weight towards 0 by ``threshold`` (≥ 0, a number or like ``w``), and stop at 0.

    The proximal operator of threshold · ‖w‖₁. Source: Duchi and Singer (2009), Beck and Teboulle (2009).
    """
    rest = (w.abs() - threshold).clamp(min=0)
    return w.sign() * rest


def sgd_l1_subgradient(w, g, *, lr, l1):
    """SGD on loss + l1·‖w‖₁, as autograd does it: no exact zeros. Source: Tsuruoka et al. (2009)."""
    g = g + l1 * w.sign()
    w = w - lr * g
    return w


def sgd_l1_prox(w, g, *, lr, l1):
    """SGD, then the soft threshold (FOBOS, ISTA). Source: Duchi and Singer (2009)."""
    w = w - lr * g
    w = soft_threshold(w, lr * l1)
    return w


def sgd_l1_cumulative(w, g, r, D, *, lr, l1):
    """SGD with the cumulative penalty: zeros that last under gradient noise.

    ``D`` is a number: what was due so far; ``r`` is what each weight has received of it, with the sign of the
    change. Source: Tsuruoka, Tsujii and Ananiadou (2009), ApplyPenalty (their u and q).
    """
    D = D + lr * l1
    u = w - lr * g
    w = soft_threshold(u, D + r * u.sign())
    r = r + (w - u)
    return w, r, D


def adagrad_l1(w, g, G, *, lr, eps, l1):
    """Adagrad, then a threshold by each weight's own rate. Source: Duchi, Hazan and Singer (2011)."""
    G = G + g**2
    rate = lr / (G.sqrt() + eps)
    w = w - rate * g
    w = soft_threshold(w, rate * l1)
    return w, G


def adam_l1(w, g, m, v, t, *,
            lr, beta1, beta2, eps, l1):
    """Adam, then a threshold by each weight's own rate: the step of ``adagrad_l1`` in Adam's metric.

    Source: Kingma and Ba (2015), Algorithm 1; Duchi, Hazan and Singer (2011) for the threshold.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    rate = lr / (v_hat.sqrt() + eps)
    w = w - rate * m_hat
    w = soft_threshold(w, rate * l1)
    return w, m, v


def ftrl_proximal(w, g, z, n, t, *,
                  lr, beta, l1):
    """FTRL-Proximal: each weight is computed anew from all gradients so far; ``n`` sums their squares.

    ``z`` starts at −w·beta/lr, which is 0 where w is; ``beta`` has the unit of the gradient; lr stays the same.
    The penalty counts once a step, t·l1; with t = 1 throughout, once in all. Source: McMahan et al. (2013),
    Algorithm 1 without its L2 (their α is lr); McMahan (2011) for t·l1.
    """
    n_old, n = n, n + g**2
    sigma = (n.sqrt() - n_old.sqrt()) / lr
    z = z + g - sigma * w
    rate = lr / (beta + n.sqrt())
    w = -rate * soft_threshold(z, t * l1)
    return w, z, n
