"""Our tokenizer of captions against the one that COCO's caption evaluation uses, which needs Java.

    python benchmarks/caption_tokens.py FILE… [--answers ANSWERS.jsonl]

Each FILE is a tar of captioned photographs, or rows with `references` (a JSONL file, as `vipe
photographs` writes it). Printed as one JSON object: how many captions there are, how many come out
otherwise by `vipe.evaluation.metrics.tokenize` than by pycocoevalcap's PTBTokenizer, and the first
of these. Of answers that `vipe eval --answers` kept, also the captions' scores under either
tokenizer; the reference's are those of COCO's evaluation from end to end.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from vipe.data.photograph_tars import PhotographTars
from vipe.evaluation.answers import read_answers
from vipe.evaluation.metrics import caption_scores, tokenize
from vipe.evaluation.rows import read_rows

Tokenizer = Callable[[Sequence[str]], list[str]]


def reference(sentences: Sequence[str]) -> list[str]:
    """The tokens of each sentence, between single spaces, by one run of the Java program."""
    # One line in is one line out: Java ends lines at more characters than the wrapper removes.
    found = PTBTokenizer().tokenize({0: [{"caption": " ".join(s.split())} for s in sentences]})[0]
    assert len(found) == len(sentences)
    return found


def ours(sentences: Sequence[str]) -> list[str]:
    """The same by our regular expression."""
    return [" ".join(tokenize(sentence)) for sentence in sentences]


def captions(file: Path) -> list[str]:
    """All captions of a file."""
    if file.suffix == ".tar":
        groups = PhotographTars([file]).captions
    else:
        groups = [row.references for row in read_rows(file)]
    return [caption for group in groups for caption in group]


def scores(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokens: Tokenizer
) -> dict[str, float]:
    """COCO's scores of these captions, once all are tokens; BLEU and ROUGE-L from 0 to 100."""
    flat = iter(tokens([sentence for group in references for sentence in group]))
    truth = {i: [next(flat) for _ in group] for i, group in enumerate(references)}
    found = {i: [answer] for i, answer in enumerate(tokens(answers))}
    bleu, _ = Bleu(4).compute_score(truth, found, verbose=0)
    rouge, _ = Rouge().compute_score(truth, found)
    cider, _ = Cider().compute_score(truth, found)
    by_length = {f"bleu{n}": 100 * score for n, score in enumerate(bleu, start=1)}
    return by_length | {"rouge_l": 100 * float(rouge), "cider": float(cider)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--examples", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("java") is None:
        raise SystemExit("the reference tokenizer is a Java program, and there is no java here")
    all_captions = [caption for file in options.files for caption in captions(file)]
    each = zip(all_captions, reference(all_captions), ours(all_captions), strict=True)
    differing = [one for one in each if one[1] != one[2]]
    result: dict[str, object] = {
        "captions": len(all_captions),
        "differing": len(differing),
        "examples": [
            {"caption": caption, "reference": theirs, "ours": found}
            for caption, theirs, found in differing[: options.examples]
        ],
    }
    if options.answers is not None:
        kept = [one for one in read_answers(options.answers) if one.row.references]
        answers, references = [one.answer for one in kept], [one.row.references for one in kept]
        result["answers"] = {
            "n": len(kept),
            "reference": scores(answers, references, reference),
            # What `vipe eval` says, and the two lengths that it leaves out.
            "ours": scores(answers, references, ours) | caption_scores(answers, references),
        }
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
