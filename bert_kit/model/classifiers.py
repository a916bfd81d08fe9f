"""Classification heads. Each takes the encoder's output and the mask, and returns (B, C) logits."""

from torch import nn

from bert_kit.model.layers import Dropout, init_weights


class LinearClassifier(nn.Module):
    """Dropout and one linear layer on the pooled [CLS] vector (Devlin et al. 2019, section 4.1)."""

    def __init__(self, config):
        super().__init__()
        rate = config.classifier_dropout
        self.dropout = Dropout(config.hidden_dropout_prob if rate is None else rate, config.fused)
        self.output = nn.Linear(config.hidden_size, config.num_labels)
        init_weights(self, config)

    def forward(self, encoded, mask=None):
        """EncoderOutput with a pooled vector (B, D) -> (B, C)."""
        return self.output(self.dropout(encoded.pooler_output))
