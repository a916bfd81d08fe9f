"""The text that every Python already has, written out for other tools or for a look."""

from bert_kit.data import load_corpus
from bert_kit.files import write_text


def write_corpus(output):
    """Write the docstring corpus and return its size in words.

    The format is that of BERT's own pre-training input: one sentence a line, an empty line
    between documents.

    Parameters
    ----------
    output : path
        Text file to write.

    Returns
    -------
    str
        One line, for instance "16,988 documents, 131,573 sentences, …".
    """
    corpus = load_corpus()
    write_text(output, "\n\n".join("\n".join(document.sentences)
                                   for document in corpus.documents) + "\n")
    return corpus.describe()
