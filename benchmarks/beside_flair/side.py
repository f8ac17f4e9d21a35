"""Flair's side, run by the Python of its environment: one line of JSON on standard output.

    python side.py train FOLDER EPOCHS SEED       a SequenceTagger on {train,dev,test}.txt
    python side.py crf BATCH TIME TAGS            its CRF alone, loss and gradient, then best path

It imports nothing of ours. The tagger is the one of Flair's own tutorial for no pretrained vectors:
learned vectors of words, characters read by an LSTM, one bidirectional LSTM and a CRF. Its list of
common characters is fetched from a server; the characters of the training part stand in for it.
"""

# pyright: reportMissingImports=false
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import flair
import torch
from flair.data import Dictionary
from flair.datasets import ColumnCorpus
from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings
from flair.models import SequenceTagger
from flair.models.sequence_tagger_utils.crf import CRF
from flair.models.sequence_tagger_utils.viterbi import ViterbiDecoder, ViterbiLoss
from flair.trainers import ModelTrainer

ROUNDS = 9


def train(folder, epochs, seed):
    """Return the score on the test part, and how fast it trained, its evaluations included."""
    flair.set_seed(seed)
    files = {f"{part}_file": f"{part}.txt" for part in ("train", "dev", "test")}
    corpus = ColumnCorpus(folder, {0: "text", 1: "tag"}, column_delimiter="\t", **files)
    labels = corpus.make_label_dictionary("tag", add_unk=False)
    words = OneHotEmbeddings.from_corpus(corpus, embedding_length=100, min_freq=2)
    known = Dictionary(add_unk=True)
    texts = (token.text for sentence in corpus.train for token in sentence)
    for one in sorted(set().union(*texts)):
        known.add_item(one)
    tagger = SequenceTagger(
        hidden_size=200,
        embeddings=StackedEmbeddings([words, CharacterEmbeddings(known)]),
        tag_dictionary=labels,
        tag_type="tag",
        use_crf=True,
    )
    trainer = ModelTrainer(tagger, corpus)
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        found = trainer.train(out, learning_rate=0.1, mini_batch_size=32, max_epochs=epochs)
        seconds = time.perf_counter() - begin
    rate = epochs * len(corpus.train) / seconds
    return {"score": 100 * found["test_score"], "seconds": seconds, "sentences_per_second": rate}


def crf(batch, length, tags):
    """Return the milliseconds of a loss with its gradient, and of finding the best paths."""
    dictionary = Dictionary(add_unk=False)
    for name in (*(f"t{n}" for n in range(tags - 2)), "<START>", "<STOP>"):
        dictionary.add_item(name)
    torch.manual_seed(0)
    layer, loss = CRF(dictionary, tags, False), ViterbiLoss(dictionary)
    decoder = ViterbiDecoder(dictionary)
    emissions = torch.randn(batch, length, tags, requires_grad=True)
    lengths = torch.full((batch,), length, dtype=torch.int)
    targets = torch.randint(tags - 2, (batch * length,))

    def learn():
        emissions.grad = None
        loss((layer(emissions), lengths, layer.transitions), targets).backward()

    def decode():
        with torch.no_grad():
            decoder.decode((layer(emissions), lengths, layer.transitions), False, None)

    return {"loss": _milliseconds(learn), "best path": _milliseconds(decode)}


def _milliseconds(call):
    taken = []
    for _ in range(ROUNDS + 2):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 1e3 * median(taken[2:])


def main():
    """Run what is asked for."""
    what, *rest = sys.argv[1:]
    found = train(Path(rest[0]), int(rest[1]), int(rest[2])) if what == "train" else None
    print(json.dumps(found or crf(*map(int, rest))))


if __name__ == "__main__":
    main()
