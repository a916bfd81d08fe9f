"""The right answers to the exercises that ask for numbers or words, computed when they are needed.

By the kit's own functions where it has them, else by the formula of the page.
"""

import copy
import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from bert_kit.active import expected_confidence, mutual_information
from bert_kit.config import BertConfig
from bert_kit.learn.exam import CASES
from bert_kit.learn.exercise_checks import ids
from bert_kit.learn.trials import CONFIG, B, S, model, randn
from bert_kit.model import (BERTForMaskedLM, BERTForSequenceClassification, BERTModel,
                            TransformerEncoderBlock, attend)
from bert_kit.model.classifiers.kan import FourierBasis, KANLayer
from bert_kit.training import AMPTrainer, layerwise_rates, schedule_factor
from bert_kit.training.losses import compute_mlm_loss
from bert_kit.training.optim import make_optimizer, make_schedule
from bert_kit.tuner import TPE, ExploitExplore, Hyperband, SearchSpace, SuccessiveHalving
from bert_kit.tuner.tpe import LARGEST_GOOD


def share_of_a_block() -> list[Any]:
    """Of the parameters of bert-base without a head."""
    config = BertConfig()  # bert-base
    made = BERTModel(config.replace(num_hidden_layers=1, vocab_size=1))  # quick to make
    every, block = (sum(p.numel() for p in part.parameters()) for part in (made, made.blocks[0]))
    every += (config.num_hidden_layers - 1) * block + (config.vocab_size - 1) * config.hidden_size
    return [block / every]


def gradient_at_another_row() -> list[Any]:
    """The largest gradient at the word vectors of row 1, of the output of row 0."""
    made = model().bert
    words = made.embeddings.word(ids(B, S)).requires_grad_()
    made.embeddings.word.register_forward_hook(lambda *_: words)
    made(ids(B, S)).last_hidden_state[0].square().sum().backward()
    assert words.grad is not None and words.grad[0].abs().max() > 0
    return [int(words.grad[1].count_nonzero())]


def score_after_a_join() -> list[Any]:
    """Of ("##es", "##t") by WordPiece's rule, when "##e" and "##s" have been joined."""
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    count = {part: sum(n * word.count(part) for word, n in words.items())
             for part in ("est", "es", "t")}
    return [count["est"] / (count["es"] * count["t"])]


def shares_of_100_tokens() -> list[Any]:
    """How many are [MASK], another piece, and asked for as they stand."""
    return [100 * 0.15 * share for share in (0.8, 0.1, 0.1)]


def vectors_that_change_when_two_are_exchanged() -> list[Any]:
    """With positions, and without."""
    made, found = model().bert, []
    row = ids(1, S)
    other = row.clone()
    other[0, [2, 4]] = row[0, [4, 2]]
    for positions in (True, False):
        if not positions:
            nn.init.zeros_(made.embeddings.position.weight)
        moved = ~torch.isclose(made(row).last_hidden_state, made(other).last_hidden_state)
        found.append(int(moved.any(-1).sum()))
    return found


def numbers_in_the_tables() -> list[Any]:
    """Of bert-base's words, segments and positions."""
    config = BertConfig()
    rows = config.vocab_size + config.type_vocab_size + config.max_position_embeddings
    return [rows * config.hidden_size]


def weights_with_and_without_the_root() -> list[Any]:
    """Of a query with W 16 whose products with two keys are 4 log 3 and 0."""
    query, keys = torch.zeros(1, 16).double(), torch.zeros(2, 16).double()
    query[0, 0], keys[0, 0] = 1, 4 * math.log(3)
    divided, plain = attend(query, keys, keys)[1], attend(4 * query, keys, keys)[1]
    return [*divided[0].tolist(), *plain[0].tolist()]


def weights_of_a_blind_query() -> list[Any]:
    """In float32, bfloat16 and float16, with seven keys of which none may be seen."""
    found = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        query = randn(S, 5).to(dtype)
        found.append(float(attend(query, query, query, torch.zeros(S, S).bool())[1][0, 0]))
    return found


def lost_by_one_head() -> list[Any]:
    """By the best linear layer, of three numbers from the left and one from the right."""
    signs = torch.tensor([*itertools.product([-1.0, 1.0], repeat=8)])  # all cases
    left, right = signs[:, :4], signs[:, 4:]
    wanted, mean = torch.cat([left[:, :3], right[:, 3:]], dim=1), 0.75 * left + 0.25 * right
    best = torch.linalg.lstsq(mean, wanted).solution
    return [float((mean @ best - wanted).square().sum() / wanted.square().sum())]


def mean_and_variance_after_post_norm() -> list[Any]:
    """Of each token, when both sub-layers give 0; the LayerNorms are new."""
    block = TransformerEncoderBlock(CONFIG).double().eval().requires_grad_(False)
    for part in (block.attention.output, block.feed_forward.output):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    y = block(5 + 3 * randn(B, S, 15))[0]
    variance = y.var(-1, correction=0)
    return [round(float(y.mean(-1).abs().max()), 6), round(float(variance.mean()), 6)]


def share_of_the_feed_forward_network() -> list[Any]:
    """Of the parameters of a block of bert-base."""
    block = TransformerEncoderBlock(BertConfig())
    inner, every = (sum(p.numel() for p in part.parameters())
                    for part in (block.feed_forward, block))
    return [inner / every]


def first_losses_above_ln_v() -> list[Any]:
    """Masked tokens only, V 41 and D 15: of new models with initializer_range 0.02, and 1."""
    found = []
    for spread in (0.02, 1.0):
        losses = []
        for seed in range(5):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = BERTForMaskedLM(CONFIG.replace(initializer_range=spread)).eval()
            words, labels = ids(31, S, seed), ids(31, S, 100 + seed)
            with torch.no_grad():
                losses.append(float(compute_mlm_loss(made, {
                    "input_ids": words, "labels": labels, "attention_mask": torch.ones_like(words),
                    "token_type_ids": torch.zeros_like(words)})))
        found.append(sum(losses) / 5 - math.log(41))
    return found


def loss_of_three_tokens() -> list[Any]:
    """And the perplexity, of right answers with probability 1/2, 1/4 and 1/8."""
    loss = sum(-math.log(p) for p in (0.5, 0.25, 0.125)) / 3
    return [loss, math.exp(loss)]


def unchanged_by_an_overflow() -> list[Any]:
    """Of weights, moments, rate and scale."""
    made = BERTForMaskedLM(CONFIG)
    optimizer = make_optimizer(made, 0.01)
    trainer = AMPTrainer(made, optimizer, make_schedule(optimizer, "linear", 0, 9),
                         precision="float16")
    row = ids(B, S)
    batch = {"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row),
             "token_type_ids": torch.zeros_like(row)}
    trainer.train_step(compute_mlm_loss, [batch])

    def state() -> dict[str, Any]:
        return {"weights": copy.deepcopy(list(made.parameters())),
                "moments": [one["exp_avg"].clone() for one in optimizer.state.values()],
                "rate": [torch.tensor(group["lr"]) for group in optimizer.param_groups],
                "scale": [torch.tensor(trainer.scaler.get_scale())]}

    before = state()
    trainer.train_step(lambda *step: compute_mlm_loss(*step) * math.inf, [batch])
    return sorted(name for name, tensors in state().items()
                  if all(map(torch.equal, tensors, before[name])))


def rates_of_a_schedule() -> list[Any]:
    """In the first, the 21st and the last of 100 steps, 20 of them warm-up."""
    return [1e-3 * schedule_factor(step, "linear", 20, 100) for step in (0, 20, 99)]


def loss_of_one_in_26() -> list[Any]:
    """And its perplexity."""
    loss = -math.log(1 / 26)
    return [loss, round(math.exp(loss))]


def chance_of_no_blank() -> list[Any]:
    """In a row of seven letters."""
    return [(1 - 0.15) ** 7]


def attention_weights_of_a_row() -> list[Any]:
    """Of c d [MASK] f g with [CLS] and [SEP], in one block of two heads."""
    made = model(num_hidden_layers=1, num_attention_heads=2, hidden_size=32).bert
    attentions = made(ids(1, 7), output_attentions=True).attentions
    assert attentions is not None
    return [sum(weights.numel() for weights in attentions)]


def rate_of_the_embeddings() -> list[Any]:
    """Of 12 blocks with a layer decay of 0.9."""
    made = BERTForSequenceClassification(CONFIG.replace(num_hidden_layers=12))
    return [layerwise_rates(made, 2e-5, layer_decay=0.9)("bert.embeddings.word.weight")]


def parameters_of_an_lstm() -> list[Any]:
    """Of one direction, from 768 numbers to 128."""
    return [sum(p.numel() for p in nn.LSTM(768, 128).parameters())]


def coefficients_of_a_kan_layer() -> list[Any]:
    """From 15 numbers to 15, with 8 frequencies."""
    return [KANLayer(15, 15, FourierBasis(8)).coefficients.numel()]


def ratio_of_two_densities() -> list[Any]:
    """At 0.4, of kernels of width 0.1 on 0.4 and 0.6, and on 0.1 and 0.9."""
    better, worse = (sum(math.exp(-((0.4 - centre) / 0.1) ** 2 / 2) for centre in centres) / 2
                     for centres in ((0.4, 0.6), (0.1, 0.9)))
    return [better / worse]


def sizes_of_the_better_group() -> list[Any]:
    """After 15, 100 and 400 trials."""
    return [min(math.ceil(TPE().good * n), LARGEST_GOOD) for n in (15, 100, 400)]


def epochs_of_hyperband() -> list[Any]:
    """All epochs that Hyperband(81) trains; who goes on does so from a checkpoint."""
    return [Hyperband(81).epochs]


def epochs_of_halving() -> list[Any]:
    """Of 16 configurations with eta 2 and budgets from 1 to 16."""
    return [SuccessiveHalving(16, 1, 16, eta=2).epochs]


def epoch_where_slow_is_ahead() -> list[Any]:
    """The first one, with the learning curves of the page."""
    def curve(rate: float, epoch: int) -> float:
        floor = 0.2 + 0.1 * math.log10(rate / 0.03) ** 2
        return floor + math.exp(-epoch * min(1.0, 30 * rate) / 2)

    return [next(epoch for epoch in range(1, 28) if curve(0.02, epoch) < curve(0.2, epoch))]


def rate_after_six_changes() -> list[Any]:
    """Four times down and twice up."""
    return [0.01 * 0.8 ** 4 * 1.2 ** 2]


def reached_with_one_axis() -> list[Any]:
    """Q after a long descent on 1.2 - h0 x² - h1 y² with h = (1, 0), from (0.9, 0.9)."""
    place, h = np.full(2, 0.9), np.array([1.0, 0.0])
    for _ in range(1000):
        place = place - 0.02 * 2 * h * place
    return [float(1.2 - (place ** 2).sum())]


def who_copies_and_who_is_copied() -> list[Any]:
    """How many of ten members, with a quantile of 0.2, in any of many draws."""
    followers, leaders = set(), set()
    for seed in range(20):
        pbt = ExploitExplore(SearchSpace().log_uniform("rate", 1e-3, 1.0), population=10,
                             quantile=0.2, exploit=1.0, seed=seed)
        for member in pbt.ask(pbt.tell(pbt.ask(), [float(slot) for slot in range(10)])):
            if member.parent != member.slot:
                followers.add(member.slot)
                leaders.add(member.parent)
    return [len(followers), len(leaders)]


def bald_of_two_sure_passes() -> list[Any]:
    """With one label, and probabilities 0 and 1."""
    return [float(mutual_information(np.array([[[0.0]], [[1.0]]]), multi_label=True)[0])]


def confidence_of_one_pass() -> list[Any]:
    """In three labels with probabilities 1, 0.5 and 0."""
    return [float(expected_confidence(np.array([[[1.0, 0.5, 0.0]]]))[0])]


def confidence_by_one_ranking_and_by_two() -> list[Any]:
    """Of two passes that contradict each other; then each alone, which ranks by itself."""
    passes = np.array([[[0.9, 0.1]], [[0.1, 0.9]]])
    own = [float(expected_confidence(table[None])[0]) for table in passes]
    return [float(expected_confidence(passes)[0]), sum(own) / 2]


def number_of_four_bytes() -> list[Any]:
    """00 00 40 40, the lowest first."""
    return [float(np.frombuffer(bytes.fromhex("00004040"), "<f4")[0])]


def place_and_size_of_a_tensor() -> list[Any]:
    """With a header of 0x98 bytes and data_offsets of 64 and 96, in float32."""
    return [8 + 0x98 + 64, (96 - 64) // 4]


def bytes_of_a_model() -> list[Any]:
    """Of 22,713,216 numbers in float32 and in float16."""
    return [22_713_216 * torch.empty(0, dtype=dtype).element_size()
            for dtype in (torch.float32, torch.float16)]


def share_of_attention() -> list[Any]:
    """Of the operations of bert-base's blocks, in rows of 128 tokens."""
    config, N, S = BertConfig(), 512, 128
    D, inner = config.hidden_size, config.intermediate_size
    attention, linear = 4 * N * S * D, 2 * N * (4 * D * D + 2 * D * inner)
    return [attention / (attention + linear)]


def length_where_attention_costs_as_much() -> list[Any]:
    """As a multiple of D: 4 S D = 2 (4 D² + 2 D · 4 D)."""
    D = 768
    return [2 * (4 * D * D + 2 * D * 4 * D) / (4 * D) / D]


def share_of_padding() -> list[Any]:
    """In rows of 10, 20, 30 and 100 tokens."""
    lengths = (10, 20, 30, 100)
    return [1 - sum(lengths) / (len(lengths) * max(lengths))]


def wrong_lines_of_cases_1_to_4() -> list[Any]:
    """Of the exam of page 16."""
    return [CASES[case].line for case in range(1, 5)]


def wrong_lines_of_cases_5_to_8() -> list[Any]:
    """Of the exam of page 16."""
    return [CASES[case].line for case in range(5, 9)]


def wrong_lines_of_cases_9_to_12() -> list[Any]:
    """Of the exam of page 16."""
    return [CASES[case].line for case in range(9, 13)]


def loss_with_two_softmaxes() -> list[Any]:
    """The smallest with four classes: the first softmax gives 1, 0, 0, 0 at best."""
    return [float(-torch.tensor([1.0, 0, 0, 0]).log_softmax(0)[0])]


def pairs_that_are_looked_at() -> list[Any]:
    """(query, key) in a row of 128 tokens: by BERT, and by GPT."""
    seen = torch.ones(128, 128)
    return [int(seen.sum()), int(seen.tril().sum())]


def tokens_with_a_loss() -> list[Any]:
    """Of a million: by BERT, and by GPT in rows of 512 + 1 tokens."""
    return [round(0.15 * 1_000_000), 1_000_000 // (512 + 1) * 512]
