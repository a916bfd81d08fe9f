"""The loss of texts with a right one each, where the right ones of the others are the wrong ones.

In-batch negatives (Henderson et al. 2017, section 4.4), known as multiple-negatives ranking or
InfoNCE: among all texts of a batch the right one is to be nearest. The larger the batch, the
harder the task, so here, other than elsewhere, two halves of a batch do not give the loss of the
whole.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bert_kit.modes import to_device


def in_batch_losses(queries: Tensor, documents: Tensor, query_numbers: Tensor,
                    document_numbers: Tensor, scale: float = 20.0,
                    symmetric: bool = False) -> Tensor:
    """(B, D), (N, D) -> (B,): how far each query is from having its own document nearest.

    With s the `scale` and c the cosine, query i and its document i have the loss

        -s c(q_i, d_i) + log of the sum over n of exp(s c(q_i, d_n))

    over all documents but those known to be right for query i, or equal to it: they are no
    negatives. With `symmetric` the sum's logarithm is the mean of this one and that over the
    queries j, with c(q_j, d_i), in which a document looks for its query.

    Parameters
    ----------
    documents
        First the right document of each query, then any number of wrong ones: N >= B.
    query_numbers, document_numbers
        (B,) and (N,), equal for equal texts. What is right for a query is so for its equals.

    Examples
    --------
    >>> vectors, numbers = torch.eye(2), torch.arange(4)
    >>> in_batch_losses(vectors, vectors, numbers[:2], numbers[2:], scale=1.0)
    tensor([0.3133, 0.3133])
    """
    count = len(queries)
    with torch.autocast(queries.device.type, enabled=False):  # bfloat16 is off by .1 at scale 20
        near, far = (F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)),
                                 dim=-1) for vectors in (queries, documents))
        scores = scale * near @ far.T  # (B, D), (N, D) -> (B, N)
        left_out = _right_too(query_numbers, document_numbers)
        open_scores = scores.masked_fill(to_device(left_out, scores.device), -torch.inf)
        total = open_scores.logsumexp(1)  # (B, N) -> (B,)
        if symmetric:
            total = (total + open_scores[:, :count].logsumexp(0)) / 2
        return total - scores.diagonal()


def _right_too(query_numbers: Tensor, document_numbers: Tensor) -> Tensor:
    """(B,), (N,) -> (B, N): where a document of another is right for a query, or the query itself.
    """
    count = len(query_numbers)
    same_query = query_numbers[:, None] == query_numbers  # (B, B)
    same_text = document_numbers[:count, None] == document_numbers  # (B, N): as the right one of j
    right = same_query.float() @ same_text.float() > 0  # (B, B), (B, N) -> (B, N)
    right |= query_numbers[:, None] == document_numbers
    return right & ~torch.eye(count, len(document_numbers), dtype=torch.bool)
