"""The exercises of the pages: how each answer is checked, and what is said on request.

An exercise is "PAGE.NUMBER", the page by its name: "attention.2" is 4.2, the second one of
docs/04-attention.md. It asks for numbers or words, or for functions in exercises.py.
"""

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from bert_kit.errors import UsageError
from bert_kit.learn.exam import bugs_of, hints_of


class Exercise(NamedTuple):
    """What is asked for, a hint, why the answer is right; and how it is known."""

    asks: str
    hint: str
    why: str
    answer: str = ""  # the function of exercise_answers.py that computes numbers or words
    functions: tuple[str, ...] = ()  # else what is to be written; exercise_checks.py tries it
    tolerance: float = 0.025  # of numbers, relative: two digits are enough
    slack: float = 0.0  # of numbers, absolute


@functools.cache
def right_values(exercise: Exercise) -> list[Any]:
    """Return the numbers or the words of an answer."""
    # Imported here: it needs torch and much of the kit.
    answers = importlib.import_module("bert_kit.learn.exercise_answers")
    return getattr(answers, exercise.answer)()


def answer_difference(exercise: Exercise, given: Sequence[str]) -> str:
    """Return what is wrong with a typed answer, "" if it is right.

    Raises
    ------
    UsageError
        If nothing was typed, or it is not as many numbers as are asked for.
    """
    if not given:
        raise UsageError(f"this exercise asks for {exercise.asks}; expected --answer with it")
    right = right_values(exercise)
    if isinstance(right[0], str):
        words = {word.lower().strip(",") for word in given} - {"and", "learning"}  # learning rate
        return "" if words == set(right) else (
            f"{' '.join(given)} is not it; asked for: {exercise.asks}")
    if len(given) != len(right):
        raise UsageError(f"{len(given)} number{'s' * (len(given) != 1)}; expected {len(right)}: "
                         f"{exercise.asks}")
    for place, (text, number) in enumerate(zip(given, right, strict=True), 1):
        allowed = 0 if isinstance(number, int) else (
            exercise.tolerance * abs(number) + exercise.slack)
        if abs(_number(text, exercise) - number) > allowed:
            which = f"number {place}, {text}," if len(right) > 1 else text
            return f"{which} is not it; asked for: {exercise.asks}"
    return ""


def _number(text: str, exercise: Exercise) -> float:
    """Return what "0.75", "3/4", "1e-3", "75%" or "7,087,872" is."""
    plain = re.sub(r",(?=\d{3}\b)", "", text).strip(",")
    try:
        return float(Fraction(plain.rstrip("%"))) / (100 if plain.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{text!r} is no number; expected {exercise.asks}") from None


def right_answer(exercise: Exercise) -> str:
    """Return the right answer as it would be typed."""
    return " ".join(f"{one:.4g}" if isinstance(one, float) else str(one)
                    for one in right_values(exercise))


def functions_difference(exercise: Exercise, functions: Sequence[Callable[..., Any]]) -> str:
    """Return what is wrong with a learner's functions, "" if nothing is."""
    checks = importlib.import_module("bert_kit.learn.exercise_checks")
    return getattr(checks, f"check_{exercise.functions[0]}")(*functions)


EXERCISES = {
    "map.1": Exercise(
        "one number: the share of one block in bert-base's parameters",
        "A block has 4 D² + 2 D I weights and 9 D + I biases, scales and shifts; D 768, I 3072.",
        "7,087,872 of 109,482,240 parameters. Twelve blocks are 78%, the embeddings 22%.",
        "share_of_a_block"),
    "map.2": Exercise(
        "one number: how many numbers of the gradient at row 1's word vectors are not 0",
        "Which tokens does a token take anything from?",
        "A row takes nothing from another row. A batch and a token axis that are exchanged, a "
        "softmax over rows or a normalisation over the batch would show as a gradient there.",
        "gradient_at_another_row"),
    "tokens-and-pairs.1": Exercise(
        "a function", "Two numbers and a while loop; write the tie down first.",
        "fit_pair agrees everywhere: what single steps take off is all of the difference, then "
        "half of the rest.", functions=("fit",)),
    "tokens-and-pairs.2": Exercise(
        "a function", "min(pairs, key=lambda pair: (-pairs[pair], pair)) breaks ties.",
        '"abc" may come from a + bc in one word and later from ab + c in another: then it is in '
        "the vocabulary already and is not added again.", functions=("train_pieces",)),
    "tokens-and-pairs.3": Exercise(
        'one number: the score of ("##es", "##t")',
        'After the join, how often does "##es" occur, how often "##t", and how often both?',
        'All three occur 9 times, in newest (6) and widest (3): 9 / (9 * 9). The score of "##s" '
        'and "##t" was the same before.', "score_after_a_join"),
    "masking.1": Exercise(
        "a function", "Choose from the set of word numbers, then go over the tokens.",
        "Yes: the choice is one a word, the replacement one a piece, so one piece may be [MASK] "
        "and the next kept.", functions=("mask_words",)),
    "masking.2": Exercise(
        "a function",
        "How does a text begin that starts anywhere? And how long is one that fills the row?",
        "A drawn B begins within a sentence and just fills the row; a true B does neither. So "
        "length and first word tell the answer without A. The kit's drawn B is the rest of a "
        "stretch of sentences, too, about as long as the true one.", functions=("b_is_random",)),
    "masking.3": Exercise(
        "three numbers: how many are [MASK], another piece, and asked for as they stand there",
        "15 of them are chosen.",
        "Of 15 tokens 80% are [MASK], 10% another piece, and 10% stay: the model does not know "
        "which of the tokens that look as usual it will be asked for.", "shares_of_100_tokens"),
    "embeddings.1": Exercise(
        "a function", "torch.nn.functional.one_hot(ids, V) is (B, S, V).",
        "A row of a table is the product of the table with a vector of one 1: an embedding is a "
        "linear layer whose input is one-hot.", functions=("one_hots",)),
    "embeddings.2": Exercise(
        "two numbers: how many of a row's 7 vectors change when two tokens are exchanged, and how "
        "many if there were no positions",
        "Every token takes from all; without positions a row is a set.",
        "With positions all change. Without them only the two places that were exchanged do: "
        "each token keeps its vector and takes it along.",
        "vectors_that_change_when_two_are_exchanged"),
    "embeddings.3": Exercise(
        "one number: how many numbers bert-base learns for its three tables",
        "A table has D numbers for each of its rows. How many rows have all three?",
        "(30,522 + 2 + 512) * 768. With a LayerNorm behind them, 2 * 768 more, they are 22% of "
        "the model.", "numbers_in_the_tables"),
    "attention.1": Exercise(
        "four numbers: the two weights, and the two without the division",
        "Divide both products by sqrt(16) first; e^(log 3) is 3.",
        "4 log 3 / 4 = log 3, so 3 : 1. Without the division 3⁴ : 1, that is 81 : 1.",
        "weights_with_and_without_the_root"),
    "attention.2": Exercise(
        "three numbers: the weight of each of 7 keys in float32, bfloat16 and float16",
        "Seven scores that are all the same, whatever they are.",
        "Every score is filled with the lowest number of its dtype; the softmax takes the highest "
        "off first, so it sees seven zeros. With -inf it would see -inf - (-inf), not a number.",
        "weights_of_a_blind_query"),
    "attention.3": Exercise(
        "one number: the share that is lost",
        "With w 0.75, what share of one number of the left neighbour is lost to the best linear "
        "layer, and what share of one of the right neighbour? The page says the first.",
        "Of 0.75 l + 0.25 r the best guess at l keeps 0.75² / (0.75² + 0.25²) = 0.9, that at r "
        "keeps 0.1. Three numbers lose 0.1 each and one 0.9: (3 * 0.1 + 0.9) / 4.",
        "lost_by_one_head"),
    "block.1": Exercise(
        "two numbers: mean and variance of each token",
        "x + 0 goes into a LayerNorm, twice.",
        "LayerNorm(LayerNorm(x)): mean 0 and variance 1, before the learned scale and shift.",
        "mean_and_variance_after_post_norm"),
    "block.2": Exercise(
        "a function", "Three options: which activation, which eps, which axis is B?",
        'activation="gelu", layer_norm_eps=1e-12, batch_first=True, and norm_first=False, which '
        "is its default: post-norm.", functions=("torch_block",)),
    "block.3": Exercise(
        "one number: the share of the feed-forward network",
        "Two matrices of 768 * 3,072 with biases of 3,072 and 768; attention has four of 768 * "
        "768 with biases; each LayerNorm has 2 * 768.",
        "4,722,432 of 7,087,872: two thirds.", "share_of_the_feed_forward_network"),
    "heads-and-losses.1": Exercise(
        "two numbers: how far the first masked-token loss is above ln V with initializer_range "
        "0.02, and with 1 (V 41, D 15; a tenth or a third off counts as right)",
        "Run it: BERTForMaskedLM(config.replace(initializer_range=1.0)), random ids and labels.",
        "Small weights give logits near 0, so all pieces are alike: ln V. With 1 the logits have "
        "a standard deviation of about sqrt(D), and a wrong answer is given with confidence.",
        "first_losses_above_ln_v", tolerance=0.33, slack=0.1),
    "heads-and-losses.2": Exercise(
        "a function", "Which labels count? Only -100 does not; 0 is an answer.",
        "0 and 1 are both answers: a loss that skips 0 would learn to say 1 always.",
        functions=("nsp_loss",)),
    "heads-and-losses.3": Exercise(
        "two numbers: the loss and the perplexity",
        "The loss is the mean of -ln p. The perplexity is e to the loss.",
        "(1 + 2 + 3) ln 2 / 3 = 2 ln 2, and e^(2 ln 2) = 4: as unsure as among four pieces.",
        "loss_of_three_tokens"),
    "training-loop.1": Exercise(
        "a function", "m and v begin at 0; t is 1 in the first step.",
        "The bias does not decay: only tensors with two axes do.", functions=("two_steps",)),
    "training-loop.2": Exercise(
        "words: which of weights, moments, rate and scale are unchanged",
        "The step has to be as if it had never been; something has to change, or it repeats.",
        "Only the scale of the loss is halved. Moments that took in an infinity would never "
        "recover, and a rate that moved would make the run a step shorter.",
        "unchanged_by_an_overflow"),
    "training-loop.3": Exercise(
        "three numbers: the rate in the first step, in the 21st and in the last one",
        "Steps are counted from 0: (step + 1) / (warmup + 1), then (total - step) / (total - "
        "warmup).",
        "1e-3 / 21, then all of it, then 1/80 of it: neither the first nor the last step is "
        "wasted on a rate of 0.", "rates_of_a_schedule"),
    "see-it-learn.1": Exercise(
        "two numbers: the loss and the perplexity",
        "What probability does it give to the right letter?",
        "-ln(1/26) = ln 26, and e to that is 26. The plateau of this page is a little lower, since "
        "letters in the middle of the alphabet are more frequent.", "loss_of_one_in_26"),
    "see-it-learn.2": Exercise(
        "one number: the share of rows in which none is chosen",
        "Each of seven letters is left alone with probability 0.85.",
        "0.85 to the 7th: nearly a third of such rows would have nothing to predict.",
        "chance_of_no_blank"),
    "see-it-learn.3": Exercise(
        "one number: how many attention weights",
        "How many tokens has the row, with [CLS] and [SEP]? And how many heads has the model?",
        "7 tokens look at 7 tokens, in each of 2 heads, in one block: 2 * 7 * 7.",
        "attention_weights_of_a_row"),
    "fine-tuning.1": Exercise(
        "one number: the learning rate of the embeddings",
        "rate * decay^(L - l). Which l are the embeddings?",
        "l = 0, so 2e-5 * 0.9^12: less than a third of the rate of the last block.",
        "rate_of_the_embeddings"),
    "fine-tuning.2": Exercise(
        "one number: weights and biases of one direction",
        "Four maps, each from 768 numbers and from 128 numbers to 128, with two biases of 128.",
        "4 * 128 * (768 + 128 + 2).", "parameters_of_an_lstm"),
    "fine-tuning.3": Exercise(
        "one number: how many coefficients",
        "Every pair of an input and an output has a function of its own.",
        "15 * 15 functions of 1 + 2 * 8 numbers each.", "coefficients_of_a_kan_layer"),
    "fine-tuning.4": Exercise(
        "a function", "hidden * mask[..., None] is 0 at padding. How many tokens are real?",
        "A row without a real token has a sum of 0; divided by at least 1 it stays 0, where 0 / 0 "
        "would be not-a-number.", functions=("masked_mean",)),
    "tpe.1": Exercise(
        "one number, to three digits: better(x) / worse(x)",
        "Each density is the mean of two bells; the height of a bell at a distance d is "
        "exp(-(d / 0.1)² / 2).",
        "The distances are 0 and 2 widths, and 3 and 5 widths: (1 + e^-2) / 2 over (e^-4.5 + "
        "e^-12.5) / 2.", "ratio_of_two_densities", tolerance=0.005),
    "tpe.2": Exercise(
        "three numbers: the size of the better group after 15, 100 and 400 trials",
        "The kit rounds up; then the largest size counts.",
        "1.5 is rounded up to 2; a tenth of 100 is 10; 40 is more than 25.",
        "sizes_of_the_better_group"),
    "tpe.3": Exercise(
        "a function", "The area left of x is (1 + erf((x - centre) / (width sqrt(2)))) / 2.",
        "For a centre of 0 it is 0.5: half of the bell lies below 0. Undivided, a good place at "
        "the border would look half as good.", functions=("bell_inside",)),
    "hyperband.1": Exercise(
        "one number: the epochs that Hyperband(81) trains in all",
        "Five brackets. Who goes on is trained from its checkpoint, so count the difference.",
        "297 + 276 + 279 + 324 + 405. To train each of its 143 configurations to the end would be "
        "11,583 epochs.", "epochs_of_hyperband"),
    "hyperband.2": Exercise(
        "one number: the epochs of all rungs",
        "16 configurations for 1 epoch; 8 go on for 1 more, 4 for 2 more, and so on.",
        "16 + 8 * 1 + 4 * 2 + 2 * 4 + 1 * 8: after the first rung each costs the same.",
        "epochs_of_halving"),
    "hyperband.3": Exercise(
        "one number: the epoch",
        "The page says who is ahead at epochs 1, 3, 9 and 27. Ask curve for those between.",
        "At epoch 8 fast is still ahead, by little. A cut before that throws slow away.",
        "epoch_where_slow_is_ahead"),
    "hyperband.4": Exercise(
        "a function", "sorted(range(len(losses)), key=lambda i: losses[i]) are positions.",
        "Sort positions, not losses, and keep len(losses) // eta of them.",
        functions=("promoted",)),
    "pbt.1": Exercise(
        "one number: the rate", "The order of the factors makes no difference.",
        "0.01 * 0.8⁴ * 1.2². One step down and one up is a factor of 0.96: not quite back.",
        "rate_after_six_changes"),
    "pbt.2": Exercise(
        "one number: the largest Q", "θ₀ goes to 0. Where does θ₁ stay?",
        "1.2 - 0.9². Two such members that copy each other reach nearly 1.2: one brings θ₀ to 0, "
        "and the other goes on from there with θ₁.", "reached_with_one_axis"),
    "pbt.3": Exercise(
        "two numbers: how many copy, and how many may be copied",
        "The share q is that of the bottom and that of the top.",
        "0.2 * 10 at either end. The six between go on as they are.",
        "who_copies_and_who_is_copied"),
    "pbt.4": Exercise(
        "a function", "Multiply first, then clip: min and max.",
        "min(max(x, low), high) is x, or the border that it passed.", functions=("explore",)),
    "active-learning.1": Exercise(
        "one number: BALD, in nats",
        "The mean of the passes is 0.5. What is its entropy, and what is that of each pass?",
        "ln 2 - 0: each pass is sure, and they contradict each other. More is not possible with "
        "one label.", "bald_of_two_sure_passes"),
    "active-learning.2": Exercise(
        "one number: EC, to three digits",
        "R(1) = 1, R(0.5) = sqrt(2) - 1, R(0) = 0; they have the ranks 1, 2 and 3.",
        "1 / 1 + 0.414 / 2 + 0 / 3.", "confidence_of_one_pass", tolerance=0.003),
    "active-learning.3": Exercise(
        "two numbers: EC, and with a ranking for each pass",
        "R(0.9) = 0.866 and R(0.1) = 0.072. Both labels have the same mean, so one ranking fits "
        "one pass and not the other.",
        "Never smaller: a sum of R_j / rank(j) is largest when the largest R has rank 1, the "
        "second rank 2, and so on. If a smaller R stands before a larger one, exchanging them adds "
        "(R_large - R_small) (1 / rank - 1 / later rank) >= 0. So its own ranking gives each pass "
        "at least as much as any other does.", "confidence_by_one_ranking_and_by_two"),
    "active-learning.4": Exercise(
        "a function", "np.sort(probabilities, axis=1) has the largest of each row last.",
        "The last minus the one before it; with two that are equal it is 0.",
        functions=("margin",)),
    "checkpoint.1": Exercise(
        "one number", "Read it from its end: 40 40 00 00. In bits it begins with 0 10000000 1.",
        "The sign is 0, the exponent 128, the fraction 1/2: 2^1 * 1.5.", "number_of_four_bytes"),
    "checkpoint.2": Exercise(
        "two numbers: the first byte, and how many numbers",
        "Hexadecimal 98 is 152. From where do offsets count?",
        "8 bytes of length, 152 of header, then 64 more; 32 bytes are eight numbers of 4.",
        "place_and_size_of_a_tensor"),
    "checkpoint.3": Exercise(
        "two numbers: the bytes in float32, and in float16", "32 bits are 4 bytes.",
        "4 and 2 bytes a number. The header comes on top of that.", "bytes_of_a_model"),
    "checkpoint.4": Exercise(
        "a function", "Three cases by the exponent: 255, 0, and all others. The sign comes last.",
        "-0.0 is what a minus before 0.0 gives; 2^-149 is the smallest number above 0.",
        functions=("float_of",)),
    "speed.1": Exercise(
        "one number, to three digits: attention's share",
        "Divide all by 4 N: attention is S D, the linear layers are (4 D² + 2 D I) / 2.",
        "128 D of 128 D + 4,608 D. For short rows attention costs next to nothing.",
        "share_of_attention", tolerance=0.005),
    "speed.2": Exercise(
        "one number: S as a multiple of D", "4 S D = 2 (4 D² + 2 D I) with I = 4 D.",
        "4 S D = 24 D², so S = 6 D: for bert-base rows of 4,608 tokens.",
        "length_where_attention_costs_as_much"),
    "speed.3": Exercise(
        "one number: the share of padding", "The rectangle is as wide as its longest row.",
        "160 tokens of 400 are real.", "share_of_padding"),
    "speed.4": Exercise(
        "two functions", "Two loops, over rows and over places; both functions use the same order.",
        "line.new_zeros(mask.shape) is a rectangle of zeros of the same dtype.",
        functions=("pack", "unpack")),
    "pitfalls.1": Exercise(
        "four numbers: the wrong line of cases 1, 2, 3 and 4", hints_of(range(1, 5)),
        bugs_of(range(1, 5)), "wrong_lines_of_cases_1_to_4"),
    "pitfalls.2": Exercise(
        "four numbers: the wrong line of cases 5, 6, 7 and 8", hints_of(range(5, 9)),
        bugs_of(range(5, 9)), "wrong_lines_of_cases_5_to_8"),
    "pitfalls.3": Exercise(
        "four numbers: the wrong line of cases 9, 10, 11 and 12", hints_of(range(9, 13)),
        bugs_of(range(9, 13)), "wrong_lines_of_cases_9_to_12"),
    "pitfalls.4": Exercise(
        "one number: the smallest loss",
        "The first softmax can give at best 1 to the right class and 0 to the others. What does "
        "the second one make of 1, 0, 0, 0?",
        "-ln(e / (e + 3)) = ln(e + 3) - 1.", "loss_with_two_softmaxes"),
    "other-models.1": Exercise(
        "two numbers: the pairs that BERT looks at, and GPT",
        "Query i of a GPT sees i + 1 keys, i from 0 to 127.",
        "128² and 128 * 129 / 2: GPT's triangle has the diagonal, too.",
        "pairs_that_are_looked_at"),
    "other-models.2": Exercise(
        "two numbers: the tokens with a loss for BERT, and for GPT",
        "How many whole rows of 513 tokens are there, and how many answers has a row?",
        "15% of a million; 1,949 rows with 512 answers each. From the same text GPT gets nearly "
        "seven times as many.", "tokens_with_a_loss"),
    "other-models.3": Exercise(
        "a function",
        "torch.ones(S, S).tril() is the triangle; (B, 1, S) says which keys are real.",
        "Both have to hold, so & joins them; the mask of the keys has an axis for the queries.",
        functions=("causal_mask",)),
}
