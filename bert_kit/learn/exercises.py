"""The exercises of the pages: how each answer is checked, and what is said on request.

An exercise is "PAGE.NUMBER", the page by its name: "attention.2" is the second one of
docs/04-attention.md. It asks for numbers or words, or for a function in exercises.py.
"""

import importlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from bert_kit.errors import UsageError


class Exercise(NamedTuple):
    """What to answer, a hint, why the answer is right; and how it is known."""

    asks: str
    hint: str
    why: str
    answer: str = ""  # the function of exercise_answers.py that computes numbers or words
    function: str = ""  # else the one of exercises.py that is to be written; tried by
    cases: str = ""  # a function that gives inputs and results, or
    check: str = ""  # one that says what is wrong
    tolerance: float = 0.01  # of numbers, relative; and half of it absolute


def _named(name: str) -> Callable[..., Any]:
    """Return a function of exercise_answers.py, which needs torch and much of the kit."""
    return getattr(importlib.import_module("bert_kit.learn.exercise_answers"), name)


def answer_difference(exercise: Exercise, given: Sequence[str]) -> str:
    """Return what is wrong with a typed answer, "" if it is right.

    Raises
    ------
    UsageError
        If nothing was typed, or it is not as many numbers as are asked for.
    """
    if not given:
        raise UsageError(f"this exercise asks for {exercise.asks}; expected --answer with it")
    right = _named(exercise.answer)()
    if isinstance(right[0], str):
        words = [word.lower().strip(",") for word in given]
        same = words == right if "in order" in exercise.asks else sorted(words) == sorted(right)
        return "" if same else f"{' '.join(given)} is not it; asked for: {exercise.asks}"
    if len(given) != len(right):
        raise UsageError(f"{len(given)} numbers; expected {len(right)}: {exercise.asks}")
    for place, (text, number) in enumerate(zip(given, right, strict=True), 1):
        try:
            typed = float(Fraction(text.strip(",")))
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"{text!r} is no number; expected {exercise.asks}") from None
        allowed = 0 if isinstance(number, int) else (
            exercise.tolerance * abs(number) + exercise.tolerance / 2)
        if abs(typed - number) > allowed:
            which = f"number {place}, {text}," if len(right) > 1 else text
            return f"{which} is not it; asked for: {exercise.asks}"
    return ""


def right_answer(exercise: Exercise) -> str:
    """Return the right answer as it would be typed."""
    return " ".join(one if isinstance(one, str) else f"{one:.4g}"
                    for one in _named(exercise.answer)())


def check_function(exercise: Exercise, function: Callable[..., Any]) -> str:
    """Return what is wrong with a learner's function, "" if nothing is."""
    from bert_kit.learn.judge import first_difference
    from bert_kit.learn.trials import copied
    if exercise.check:
        return _named(exercise.check)(function)
    for inputs, expected in _named(exercise.cases)():
        found = first_difference(function(*copied(inputs)), expected, 1e-9)
        if found:
            shown = ", ".join(str(one) if len(str(one)) < 60 else "…" for one in inputs)
            return f"{found} (tried on {shown})"
    return ""


EXERCISES = {
    "map.1": Exercise(
        "the share of one block in bert-base's parameters",
        "A block has 4 D² + 2 D I weights and 9 D + I biases, scales and shifts; D 768, I 3072.",
        "7,087,872 of 109,482,240 parameters. Twelve blocks are 78%, the embeddings 22%.",
        "share_of_a_block", tolerance=0.01),
    "map.2": Exercise(
        "how many numbers of the gradient at row 1's word vectors are not 0",
        "Which tokens does a token take anything from?",
        "A row takes nothing from another row. A batch and a token axis that are exchanged, a "
        "softmax over rows or a normalisation over the batch would show as a gradient there.",
        "gradient_at_another_row"),
    "tokens-and-pairs.1": Exercise(
        "a function fit", "Two numbers and a while loop; write the tie down first.",
        "fit_pair agrees everywhere: what single steps take off is all of the difference, then "
        "half of the rest.", function="fit", cases="cases_of_fit"),
    "tokens-and-pairs.2": Exercise(
        "a function train_pieces", "min(pairs, key=lambda pair: (-pairs[pair], pair)) breaks ties.",
        '"abc" may come from a + bc in one word and later from ab + c in another: then it is in '
        "the vocabulary already and is not added again.", function="train_pieces",
        cases="cases_of_train_pieces"),
    "masking.1": Exercise(
        "a function mask_words", "Choose from the set of word numbers, then go over the tokens.",
        "Yes: the choice is one a word, the replacement one a piece, so one piece may be [MASK] "
        "and the next kept.", function="mask_words", check="check_mask_words"),
    "masking.2": Exercise(
        "a function b_is_random, which sees B but not A",
        "How does a text begin that starts anywhere? And how long is one that fills the row?",
        "A drawn B begins within a sentence and just fills the row; a true B does neither. So "
        "length and first word tell the answer without A. The kit's drawn B is the rest of a "
        "stretch of sentences, too, about as long as the true one.", function="b_is_random",
        check="check_b_is_random"),
    "embeddings.1": Exercise(
        "a function one_hots", "torch.nn.functional.one_hot(ids, V) is (B, S, V).",
        "A row of a table is the product of the table with a vector of one 1: an embedding is a "
        "linear layer whose input is one-hot.", function="one_hots",
        cases="cases_of_one_hots"),
    "embeddings.2": Exercise(
        "two numbers: how many of a row's 7 vectors change when two tokens are exchanged, and how "
        "many if there were no positions",
        "Every token takes from all; without positions a row is a set.",
        "With positions all change. Without them only the two places that were exchanged do: "
        "each token keeps its vector and takes it along.",
        "vectors_that_change_when_two_are_exchanged"),
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
    "block.1": Exercise(
        "two numbers: mean and variance of each token",
        "x + 0 goes into a LayerNorm, twice.",
        "LayerNorm(LayerNorm(x)): mean 0 and variance 1, before the learned scale and shift.",
        "mean_and_variance_after_post_norm"),
    "block.2": Exercise(
        "a function torch_block", "Three options: which activation, which eps, which axis is B?",
        'activation="gelu", layer_norm_eps=1e-12, batch_first=True, and norm_first=False, which '
        "is its default: post-norm.", function="torch_block", check="check_torch_block"),
    "heads-and-losses.1": Exercise(
        "two numbers: how far the first masked-token loss is above ln V with initializer_range "
        "0.02, and with 1 (V 41, D 15; a tenth or a third off counts as right)",
        "Run it: BERTForMaskedLM(config.replace(initializer_range=1.0)), random ids and labels.",
        "Small weights give logits near 0, so all pieces are alike: ln V. With 1 the logits have "
        "a standard deviation of about sqrt(D), and a wrong answer is given with confidence.",
        "first_losses_above_ln_v", tolerance=0.33),
    "heads-and-losses.2": Exercise(
        "a function nsp_loss", "Which labels count? Only -100 does not; 0 is an answer.",
        "0 and 1 are both answers: a loss that skips 0 would learn to say 1 always.",
        function="nsp_loss", cases="cases_of_nsp_loss"),
    "training-loop.1": Exercise(
        "a function two_steps", "m and v begin at 0; t is 1 in the first step.",
        "The bias does not decay: only tensors with two axes do.", function="two_steps",
        cases="cases_of_two_steps"),
    "training-loop.2": Exercise(
        "words: which of weights, moments, rate and scale are unchanged",
        "The step has to be as if it had never been; something has to change, or it repeats.",
        "Only the scale of the loss is halved. Moments that took in an infinity would never "
        "recover, and a rate that moved would make the run a step shorter.",
        "unchanged_by_an_overflow"),
    "fine-tuning.1": Exercise(
        "a function padding_shows", "Write something else into the padding; cut the row short.",
        "Three runs have to agree: as it is, with other ids at padding, and each row alone.",
        function="padding_shows", check="check_padding_shows"),
    "fine-tuning.2": Exercise(
        "four numbers: of 4 blocks, how many are trained in epoch 0, 1 and 2; and in which epoch "
        "the embeddings are first", "Epoch 0 trains the head alone.",
        "One block more an epoch, from the top; the embeddings after the lowest block.",
        "blocks_that_thaw"),
    "tuning.1": Exercise(
        "one number: the epochs that Hyperband(81) trains in all",
        "Five brackets. Who goes on is trained from its checkpoint, so count the difference.",
        "Each bracket costs about (s_max + 1) R epochs; without stopping any it would be many "
        "more.", "epochs_of_hyperband"),
    "tuning.2": Exercise(
        "one number: what a population reaches (to 1 in 100)",
        "It may change between (1, 0) and (0, 1) while it trains.",
        "About 1.2, the best there is: a member that saw one axis goes on from one that saw the "
        "other, so a schedule reaches what no fixed setting can.",
        "population_on_figure_2"),
    "active-learning.1": Exercise(
        "a function ec_of_own_ranks",
        "Sort the relevances of each pass by themselves. Compare with the order of the means.",
        "No. Take a pass; its sum of R_j / rank(j) is largest when the largest R has rank 1, the "
        "second rank 2, and so on: if a smaller R stands before a larger one, exchanging them "
        "adds (R_large - R_small) (1/rank - 1/later rank) >= 0. Its own ranking is sorted, so no "
        "other ranking, that of the means included, gives that pass more; and a mean of sums that "
        "are each at least as large is at least as large.", function="ec_of_own_ranks",
        cases="cases_of_own_ranks"),
    "active-learning.2": Exercise(
        "two numbers: the lowest and the highest BALD with four classes, of which one is right",
        "An entropy lies between 0 and ln C; the second one is subtracted.",
        "0 when all passes say the same; ln C when each pass is sure, of another class each.",
        "bounds_of_bald"),
    "checkpoint.1": Exercise(
        'words, in order: how tensors "b" and "a" of float32 and "c" of float64 lie in the file',
        "Every number should lie at a multiple of its size.",
        "The files are equal: the widest dtypes first, then by name, whatever order they came in.",
        "order_of_tensors"),
    "checkpoint.2": Exercise(
        "words: which of same, numbers, names, shapes, error and crash may happen",
        "A byte of the header, and a byte of the data.",
        "A flip in the data gives other numbers; one in a name another name, which loading into a "
        "model then refuses; one in the spaces that fill up the header changes nothing. All else "
        "is refused with one line. What may not happen: another shape without a word, or a crash.",
        "outcomes_of_a_flip"),
    "speed.1": Exercise(
        "a function pack", "sorted(range(B), key=lambda b: lengths[b]) keeps equals in order.",
        "Short rows first. Nothing is lost: the index of each token's place is kept, and unpack "
        "puts it back.", function="pack", cases="cases_of_pack"),
    "speed.2": Exercise(
        "one number: how many (…, S, S) tensors the default keeps for the way back",
        "torch.autograd.graph.saved_tensors_hooks shows what is kept.",
        "None: the weights are computed again on the way back.", "square_tensors_kept"),
    "pitfalls.1": Exercise(
        "one number: how many rows of a batch of 3 may have a gradient",
        "Map 2 asked for the same, from the other side.",
        "That row alone.", "rows_with_a_gradient"),
    "pitfalls.2": Exercise(
        "one number: how many rows may differ between the copies",
        "What do the draws of a row follow from?",
        "None: draws follow from (seed, epoch, row), not from who asks or when.",
        "rows_that_differ_in_a_copy"),
    "other-models.1": Exercise(
        "two numbers: how many vectors move in the changed token's row of 7, and in the other row",
        "BERT looks both ways, and at its own row only.",
        "All of its row, none of another. In GPT those before it would stay.",
        "vectors_that_move"),
    "other-models.2": Exercise(
        "one word: the table without which the order is lost: word, segment or position",
        "Exchange two words and look at [CLS].",
        "The positions are added before the first block; attention itself is a sum over a set.",
        "table_that_knows_the_order"),
}
