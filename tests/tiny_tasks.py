"""Small labelled files for every task, which small models learn, and how to train on them."""

import csv
import json
import random

from tiny_jobs import WORDS, write_table

CPU = {"device": "cpu", "precision": "float32", "plots": False, "verbosity": 0}


def sentences(count, seed=0, first="B-"):
    """Sentences with entities: a red or orange thing, maybe of fire or sun; a blue or ice one."""
    rng = random.Random(seed)
    for _ in range(count):
        rows = [(rng.choice(["the", "old", "new", "very", "small"]), "O")
                for _ in range(rng.randint(1, 9))]
        for kind in rng.sample(["warm", "cold"], rng.randint(0, 2)):
            place = rng.choice([i for i in range(len(rows) + 1)
                                if i == len(rows) or not rows[i][1].startswith("I")])
            words = [rng.choice(WORDS[kind][:2]), rng.choice(WORDS[kind][2:])][:rng.randint(1, 2)]
            rows[place:place] = [(word, f"{'I-' if i else first}{kind}")
                                 for i, word in enumerate(words)]
        yield rows


def write_conll(path, count, seed=0, **options):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join("".join(f"{word}\t{tag}\n" for word, tag in rows)
                              for rows in sentences(count, seed, **options)))
    return path


def write_squad(path, count, seed=0, impossible=False):
    """Two questions a paragraph: which warm word is in it; every third may have none."""
    rng, paragraphs = random.Random(seed), []
    for i in range(count):
        words = [rng.choice(["the", "old", "new", "very", "small"])
                 for _ in range(rng.choice([4, 9, 50]))]
        words.insert(rng.randrange(len(words)), rng.choice(WORDS["cold"]))
        has_answer = not (impossible and i % 3 == 0)
        answer = rng.choice(WORDS["warm"])
        if has_answer:
            words.insert(rng.randrange(len(words)), answer)
        context = " ".join([*words, str(i)])
        answers = [{"text": answer, "answer_start": context.find(answer)}] * has_answer
        paragraphs.append({"context": context, "qas": [
            {"id": f"{seed} {i} {question}", "question": question, "answers": answers,
             "is_impossible": not has_answer} for question in ("a thing", "thing of")]})
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"version": "x", "data": [{"paragraphs": paragraphs}]}))
    return path


def write_rated(path, count=90, seed=0):
    """Pairs of short texts, rated 4.5 if they have words of one class, else 0.5."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text_a", "text_b", "label"])
        for i in range(count):
            a, b = rng.choice(sorted(WORDS)), rng.choice(sorted(WORDS))
            b = a if i % 2 else b
            texts = [" ".join(rng.choices(["the", "old", "new"], k=rng.randint(0, 3))
                              + [rng.choice(WORDS[name])]) for name in (a, b)]
            writer.writerow([*texts, 4.5 if a == b else 0.5])
    return path


def write_documents(path, count, seed):
    """Documents of one to five sentences, all of whose colours are of one kind."""
    rng = random.Random(seed)
    text = []
    for i in range(count):
        words = WORDS[sorted(WORDS)[i % 3]]
        text.append("\n".join(
            f"the {rng.choice(words)} thing {i} of " + " ".join(rng.choices(words, k=3)) + "."
            for _ in range(rng.randint(1, 5))))
    path.write_text("\n\n".join(text) + "\n")
    return path


def labelled(folder, name, column, label_of):
    """Write the table of classes with other labels."""
    with open(write_table(folder / "rows.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / name, "w", newline="") as file:
        csv.writer(file).writerows([["text", column], *(
            (row["text"], label_of(row["category"])) for row in rows)])
    return folder / name


def training_of(task, folder, bert):
    """Write the files of a task and return options to train on them, for a few quick steps."""
    common = {**CPU, "model": bert, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24}
    parts = ("train", "dev", "test")
    if task == "classification":
        return {**common, "data_file": write_table(folder / "rows.csv")}
    if task == "multi_label":
        return {**common, "data_file": labelled(
            folder, "labels.csv", "labels", lambda name: "" if name == "cold" else name)}
    if task == "regression":
        return {**common, "data_file": labelled(folder, "numbers.csv", "label", len)}
    if task == "tagging":
        for seed, name in enumerate(parts):
            write_conll(folder / "tags" / f"{name}.conll", 40, seed)
        return {**common, "data_file": folder / "tags"}
    if task == "answering":
        for seed, name in enumerate(parts):
            write_squad(folder / "squad" / f"{name}.json", 20, seed, impossible=True)
        return {**common, "data_file": folder / "squad", "stride": 8, "longest_answer": 3}
    if task == "similarity":
        train, dev, test = (write_rated(folder / f"{name}.csv", 40, seed)
                            for seed, name in enumerate(parts))
        return {**common, "train_file": train, "validation_file": dev, "test_file": test,
                "pooling": "mean"}
    return {**common, "train_file": write_documents(folder / "train.txt", 40, 0),
            "validation_file": write_documents(folder / "dev.txt", 11, 1)}
