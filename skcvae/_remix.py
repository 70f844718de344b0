"""The labelling rule of Remix, for arrays of NumPy and of torch alike."""


def remix_label_share(share, count, partner_count, kappa, tau):
    r"""Return the share of the label that a sample keeps when it is mixed with another.

    For :math:`\tilde x = \lambda x_i + (1 - \lambda) x_j` and class sizes n, Remix
    (Chou et al., "Remix: Rebalanced Mixup", ECCV 2020 workshops, arXiv 2007.03943) sets

    .. math::
        \lambda_y = \begin{cases}
        0 & n_i / n_j \ge \kappa \text{ and } \lambda < \tau \\
        1 & n_i / n_j \le 1 / \kappa \text{ and } 1 - \lambda < \tau \\
        \lambda & \text{otherwise,}
        \end{cases}

    so that a mixture of a large and a small class counts as one of the small class.
    `kappa` is above 1, `tau` in [0, 1]; the arrays have the shape (n_samples,).
    """
    to_partner = (count >= kappa * partner_count) & (share < tau)
    to_itself = (kappa * count <= partner_count) & (1 - share < tau)
    # Products with the masks work for both libraries, where their `where` differ.
    return share * ~(to_partner | to_itself) + to_itself
