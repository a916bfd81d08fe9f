"""Pre-training batches from a corpus larger than memory: how fast, and in how much memory.

    python examples/benchmarks/corpus.py                    # 2 GB of text; about ten minutes
    python examples/benchmarks/corpus.py --gigabytes 0.2    # a first look

The text is made up: documents of words drawn as often as in the docstrings of this machine's
Python, numpy, scikit-learn and torch. It is encoded into a token store by 1 process and by
`--workers`, and the bytes of both are compared; then batches of 32 x 128 are read in shuffled
order. Memory is what Linux counts as the process's own: anonymous (arrays, objects) and of mapped
files.
"""

import argparse
import collections
import filecmp
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bert_kit import MLMDataset, train_tokenizer
from bert_kit.data import TokenStore, build_token_store, load_corpus, make_loader

ROWS, LENGTH = 32, 128
BLOCK = 2_000_000  # words written at a time, some 14 MB
SEED = 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2, help="text to write")
    parser.add_argument("--workers", type=int, default=2, help="processes that build the store")
    parser.add_argument("--batches", type=int, default=2_000, help="batches to read")
    parser.add_argument("--vocab_size", type=int, default=8_000, help="pieces of the tokenizer")
    parser.add_argument("--folder", help="for text and stores; a temporary one by default")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def write_text(path, size, texts):
    """Write `size` bytes: lines of 20 words, an empty line after every eighth on average."""
    rng = np.random.default_rng(SEED)
    counts = collections.Counter(word for text in texts for word in text.split())
    words = np.array(list(counts), dtype=object)
    shares = np.array(list(counts.values())).cumsum() / counts.total()
    with open(path, "w", encoding="utf-8") as handle, tqdm(
            total=size, unit="B", unit_scale=True, desc="text", disable=None) as bar:
        while handle.tell() < size:
            drawn = words[shares.searchsorted(rng.random(BLOCK), side="right")]
            drawn[19::20] += "\n"
            ends = np.arange(19, BLOCK, 20)
            drawn[ends[rng.random(len(ends)) < 1 / 8]] += "\n"
            handle.write(" ".join(drawn))
            bar.update(handle.tell() - bar.n)


def build(text, tokenizer, folder, workers):
    """Return the seconds that a store takes."""
    start = time.perf_counter()
    with tqdm(unit="B", unit_scale=True, desc="store", disable=None) as bar:
        def report(done, total):
            bar.total = total
            bar.update(done - bar.n)
        build_token_store(text, tokenizer, folder, workers, report)
    return time.perf_counter() - start


def memory():
    """Return the megabytes of memory that are (the process's own, mapped files')."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(status[key].split()[0]) / 1_000 for key in ("RssAnon", "RssFile")]


def stream(loader, batches):
    """Read batches and print memory on the way; return the figures."""
    found, tokens, start = [], 0, time.perf_counter()
    loader.batch_sampler.start_at(0)
    print(f"\n{'batch':>9}{'anonymous':>12}{'mapped files':>15}{'tokens/s':>13}")
    for number, batch in enumerate(loader):
        if number % 500 == 0 or number == batches:
            speed = tokens / (time.perf_counter() - start)
            found.append([number, *memory(), speed])
            print(f"{number:9,}{found[-1][1]:9,.0f} MB{found[-1][2]:12,.0f} MB{speed:13,.0f}")
        if number == batches:
            break
        tokens += int(batch["attention_mask"].sum())
    return found


def main(args, folder):
    figures, text = {}, folder / "corpus.txt"
    texts = [document.text for document in load_corpus().documents]
    tokenizer = train_tokenizer(texts, args.vocab_size)
    write_text(text, args.gigabytes * 1e9, texts)
    megabytes = text.stat().st_size / 1e6
    del texts

    for workers in dict.fromkeys([1, args.workers]):
        seconds = build(text, tokenizer, folder / f"store-{workers}", workers)
        figures[f"build_{workers}"] = {"seconds": seconds, "mb_per_s": megabytes / seconds}
        print(f"built by {workers}      {seconds:8.1f} s  {megabytes / seconds:6.1f} MB/s")
    if args.workers > 1:
        names = [path.name for path in (folder / "store-1").iterdir()]
        same = filecmp.cmpfiles(folder / "store-1", folder / f"store-{args.workers}", names,
                                shallow=False)[0]
        print(f"same bytes      {len(same)} of {len(names)} files")

    start = time.perf_counter()
    store = TokenStore.open(folder / "store-1")
    opened = time.perf_counter()
    dataset = MLMDataset(store, tokenizer, LENGTH)
    figures |= {"open_s": opened - start, "rows_s": time.perf_counter() - opened,
                "documents": store.documents, "tokens": store.tokens, "rows": len(dataset)}
    print(f"store           {store.documents:,} documents, {store.tokens:,} tokens, "
          f"{len(dataset):,} rows\nopened in       {figures['open_s'] * 1e3:8.1f} ms, rows found "
          f"in {figures['rows_s']:.2f} s")
    for group in (False, True):
        loader = make_loader(dataset, ROWS, seed=SEED, group_by_length=group)
        figures[f"stream_grouped_{group}"] = stream(loader, min(args.batches, len(loader) - 1))
    start = time.perf_counter()
    loader.batch_sampler.start_at(3, len(loader) // 2)
    next(iter(loader))
    figures["jump_ms"] = (time.perf_counter() - start) * 1e3
    print(f"\njump to the middle of epoch 3: {figures['jump_ms']:.1f} ms")
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    place = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        main(arguments, place)
    finally:
        shutil.rmtree(place)
