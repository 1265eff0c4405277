"""A sentence encoder small enough for every test: BERT of two layers and 32 dimensions, drawn at random, with its own
WordPiece tokenizer. Saved as any model is saved, and loaded as any model is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

_TEXT = """the a of in on under over river mountain lake cloud rain engine wheel road bridge harbour ship sail rope
doctor nurse fever wound cure apple bread salt pepper oven king queen law court judge song drum flute query :
passage , ."""
WORDS = tuple(_TEXT.split())
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make(folder: Path, seed: int = 0, *, pooling: str = "mean") -> Path:
    """The same seed gives the same weights."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(_SPECIAL) + len(WORDS) + 26,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,  # else all texts have nearly one vector
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    _tokenizer(folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    return folder


def _tokenizer(folder: Path) -> None:
    import tokenizers

    names = (*_SPECIAL, *WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"))
    vocabulary = {name: number for number, name in enumerate(names)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    made.enable_truncation(max_length=8)  # as real ones do: both must be decided anew
    made.enable_padding(length=8)
    made.save(str(folder / "tokenizer.json"))


def sentences(count: int, seed: int = 0) -> list[str]:
    """All different, of 2 to 30 words."""
    import numpy as np

    draw = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choice(WORDS[:-5], int(draw.integers(2, 30))))] = None
    return list(found)


def write(path: Path, texts: Sequence[str], ids: Sequence[int | str] | None = None) -> None:
    named = ids if ids is not None else [f"d{number:05d}" for number in range(len(texts))]
    lines = [json.dumps({"id": one, "text": text}) for one, text in zip(named, texts, strict=True)]
    path.write_text("\n".join(lines) + "\n")
