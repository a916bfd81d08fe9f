"""Small made-up data sets for the tests of training."""

import numpy as np
import torch
from torch.utils.data import Dataset

from bert_kit.data import make_loader


class Rows(Dataset):
    """Rows of random ids and lengths; the label says whether the first id is above the middle.

    With `masked` the labels are tokens instead, about a third of them, in uneven numbers a row.
    """

    pad_id = 0

    def __init__(self, count, longest=13, vocabulary=99, masked=False, seed=0):
        rng = np.random.default_rng(seed)
        self.rows = []
        for _ in range(count):
            ids = rng.integers(5, vocabulary, rng.integers(2, longest + 1))
            labels = int(ids[0] > (vocabulary + 5) // 2)
            if masked:
                labels = np.where(rng.random(len(ids)) < rng.choice([0.1, 0.6]), ids, -100)
            self.rows.append({"input_ids": ids, "token_type_ids": np.zeros_like(ids),
                              "labels": labels})
        self.lengths = np.array([len(row["input_ids"]) for row in self.rows])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return self.rows[key[1] if isinstance(key, tuple) else key]


def rows_loader(count, batch_size, masked=False, shuffle=True, seed=0, share=(0, 1)):
    return make_loader(Rows(count, masked=masked, seed=seed), batch_size, shuffle, seed,
                       share=share)


class Fixed(torch.nn.Module):
    """A model whose logits are given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.logits


def batch_of(labels, **more):
    ids = torch.ones(len(labels), 2, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids, "labels": labels,
            **more}
