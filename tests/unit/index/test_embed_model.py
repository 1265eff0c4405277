"""A real encoder, small and random: what it gives is what transformers gives, and another one is told from it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import InputError, Refused, Unavailable
from ddr.index.embedders import batching, fingerprint, model
from tests.unit.index import tinybert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="the extra `embed` is not installed")

TEXTS, FEW = tinybert.sentences(64), 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinybert.make(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "tiny"))


def settings(folder: Path, **more: Any) -> model.Settings:
    return model.Settings(folder, device="cpu", **{"max_tokens": 40, **more})


def vectors(of: model.Settings, texts: list[str] = TEXTS, tokens: int = 300) -> NDArray[np.float32]:
    loaded = model.Model(of, 1)
    return batching.embedded(loaded, loaded.tokens(texts), batching.Budget(tokens))


def plain(folder: Path, pooling: str, prefix: str, most: int, *, is_normalised: bool) -> NDArray[np.float32]:
    """One text at a time, as the library's own documentation does it: nothing is padded."""
    encoder = transformers.AutoModel.from_pretrained(folder).eval()
    words = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    found = []
    with torch.inference_mode():
        for text in TEXTS[:FEW]:
            given = words(prefix + text, truncation=True, max_length=most, padding=False, return_tensors="pt")
            given.pop("token_type_ids", None)
            hidden = encoder(**given).last_hidden_state[0]
            pooled = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
            found.append((pooled / pooled.norm() if is_normalised else pooled).numpy())
    return np.array(found, np.float32)


def test_every_setting_gives_what_the_library_gives_text_by_text(folder: Path) -> None:
    tried = 0
    for pooling, prefix, most, is_normalised in itertools.product(
        ("mean", "cls"), ("", "query: "), (6, 40), (True, False)
    ):
        mine = settings(folder, pooling=pooling, prefix=prefix, max_tokens=most, is_normalised=is_normalised)
        wanted = plain(folder, pooling, prefix, most, is_normalised=is_normalised)
        np.testing.assert_allclose(vectors(mine, TEXTS[:FEW]), wanted, atol=2e-6)
        tried += 1
    assert tried == 16


def test_batches_change_bits_and_no_more(folder: Path) -> None:
    one, all_at_once = vectors(settings(folder), tokens=1), vectors(settings(folder), tokens=10**6)
    assert (one * all_at_once).sum(axis=1).min() > 0.9999


def stored(of: model.Settings) -> indexes.Embedder:
    found = fingerprint.facts(of)
    golden = tuple(
        fingerprint.golden(f"d{number}", text, vector)
        for number, (text, vector) in enumerate(zip(TEXTS, vectors(of), strict=True))
    )
    return indexes.Embedder(fingerprint.of(found), of.folder.name, {**found, "precision": "fp32"}, golden)


def compared(made: indexes.Embedder, live: model.Settings, texts: dict[str, str] | None = None) -> Any:
    there = texts if texts is not None else {f"d{number}": text for number, text in enumerate(TEXTS)}
    return fingerprint.again(made, fingerprint.facts(live), lambda ids: there, lambda: model.Model(live, 1))


def test_the_same_model_is_the_same_in_any_batch_and_any_precision(folder: Path, copy: Path) -> None:
    made = stored(settings(folder))
    for live in (
        settings(folder),
        settings(copy),
        settings(folder, precision="bf16"),
        settings(folder, precision="fp16"),
    ):
        found = compared(made, live)
        assert found.is_same, found.sentence
        assert (found.compared, found.of) == (64, 64)
        assert fingerprint.of(fingerprint.facts(live)) == made.fingerprint
    assert "precision (was fp32, is fp16)" in found.changed


OTHERS: dict[str, tuple[dict[str, Any], set[fingerprint.Verdict], str]] = {
    "prefix missing": ({"prefix": ""}, {fingerprint.Verdict.CHANGED, fingerprint.Verdict.OTHER}, "prefix"),
    "another prefix": (
        {"prefix": "passage: "}, {fingerprint.Verdict.CHANGED, fingerprint.Verdict.OTHER}, "prefix"
    ),
    "pooling swapped": ({"pooling": "cls"}, {fingerprint.Verdict.OTHER}, "pooling"),
    "not normalised": ({"is_normalised": False}, {fingerprint.Verdict.SCALED}, "normalise"),
    "texts cut shorter": (
        {"max_tokens": 8}, {fingerprint.Verdict.CHANGED, fingerprint.Verdict.OTHER}, "maxTokens"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_use_of_the_same_weights_is_found_and_named(folder: Path, name: str) -> None:
    here = settings(folder, prefix="query: ", pooling="mean")
    changed, verdicts, fact = OTHERS[name]
    other = dataclasses.replace(here, **changed)
    for made, live in ((here, other), (other, here)):
        found = compared(stored(made), live)
        print(f"{name}: {found.sentence}")
        assert found.verdict in verdicts, found.sentence
        assert not found.is_same
        assert [one.partition(" ")[0] for one in found.changed] == [fact]
        assert fingerprint.of(fingerprint.facts(made)) != fingerprint.of(fingerprint.facts(live))


def test_another_model_of_the_same_dimension_is_another_space(folder: Path, tmp_path: Path) -> None:
    made = stored(settings(folder))
    for seed in range(1, 4):
        other = tinybert.make(tmp_path / "tiny", seed)
        found = compared(made, settings(other))
        assert found.verdict is fingerprint.Verdict.OTHER, found.sentence
        assert "weights" in found.sentence
        shutil.rmtree(other)


def test_weights_that_moved_a_little_are_told_from_the_same(folder: Path, copy: Path) -> None:
    """As after another hour of training: nothing but the vectors knows how far."""
    from safetensors import torch as saved

    made = stored(settings(folder))
    tensors = saved.load_file(copy / "model.safetensors")
    torch.manual_seed(1)
    moved = {name: one + one.std(correction=0) * 0.1 * torch.randn_like(one) for name, one in tensors.items()}
    saved.save_file(moved, copy / "model.safetensors", {"format": "pt"})
    found = compared(made, settings(copy))
    assert found.verdict is fingerprint.Verdict.CHANGED, found.sentence


def test_documents_that_changed_or_are_gone_say_nothing(folder: Path) -> None:
    made = stored(settings(folder))
    there = {f"d{number}": text if number < 20 else f"{text} more" for number, text in enumerate(TEXTS[:40])}
    found = compared(made, settings(folder), there)
    assert found.is_same
    assert found.compared == 20
    few = compared(made, settings(folder, pooling="cls"), dict(list(there.items())[:7]))
    assert few.verdict is fingerprint.Verdict.UNKNOWN
    assert "only 7 of 64" in few.sentence


def test_what_is_cosmetic_is_no_other_embedder(folder: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "0", "_name_or_path": "x"}))
    assert fingerprint.facts(settings(copy)) == fingerprint.facts(settings(folder))
    (copy / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert fingerprint.facts(settings(copy))["config"] != fingerprint.facts(settings(folder))["config"]


def test_pooling_is_what_the_model_says(tmp_path: Path, folder: Path) -> None:
    assert model.pooling(settings(folder)) == "mean"
    other = tinybert.make(tmp_path / "cls", pooling="cls")
    assert model.pooling(settings(other)) == "cls"
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(InputError, match="pools by pooling_mode_max_tokens"):
        model.pooling(settings(other))
    assert model.pooling(settings(other, pooling="mean")) == "mean"
    (other / "1_Pooling" / "config.json").unlink()
    assert model.pooling(settings(other)) == "mean"


def test_a_folder_that_is_no_safe_model_is_refused(copy: Path) -> None:
    def refused(match: str, **more: Any) -> None:
        with pytest.raises((InputError, Refused), match=match):
            model.Model(settings(copy, **more), 1)

    refused("maxTokens is 65, tiny reads 64 at most", max_tokens=65)
    with pytest.raises(Refused, match="torch sees 0 GPUs") if not torch.cuda.is_available() else pytest.raises(Refused):
        model.Model(dataclasses.replace(settings(copy), device="cuda:9"), 1)
    with pytest.raises(InputError, match="there is no device tpu"):
        model.Model(dataclasses.replace(settings(copy), device="tpu"), 1)
    (copy / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    refused("the model ends in Dense")
    (copy / "modules.json").unlink()
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[:-40])
    refused("cannot be loaded")
    (copy / "model.safetensors").write_bytes(content)
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    refused("weights lack 16 tensors")
    (copy / "config.json").write_text("{")
    refused("config.json cannot be read")
    (copy / "config.json").write_text(config)
    words = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text("{}")
    refused("tokenizer.json cannot be read")
    (copy / "tokenizer.json").write_text(words)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    refused("only pickles")
    (copy / "pytorch_model.bin").unlink()
    refused("no weights")
    (copy / "tokenizer.json").unlink()
    refused("has no tokenizer.json")
    shutil.rmtree(copy)
    refused("is not there")


def _more_words(folder: Path) -> None:
    """As if words were added and the weights not resized."""
    said = json.loads((folder / "tokenizer.json").read_text())
    said["model"]["vocab"] |= {
        word: number + 5000 for word, number in said["model"]["vocab"].items() if word == "river"
    }
    (folder / "tokenizer.json").write_text(json.dumps(said))


def _padding_elsewhere(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": -1}))


def _decoder_too(folder: Path) -> None:
    config = transformers.T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    transformers.T5Model(config).save_pretrained(folder)


def _of_pictures(folder: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, image_size=8, patch_size=4
    )
    transformers.ViTModel(config).save_pretrained(folder)


_UNFIT: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "words that the weights lack": (_more_words, r"gives token 50\d\d, its weights have 0 to \d+$", "of one model"),
    "padding that is no word": (_padding_elsewhere, "gives token -1, its weights", "of one model"),
    "an encoder and a decoder": (_decoder_too, "gives no vectors: ValueError: ", "a sentence encoder"),
    "a model of pictures": (_of_pictures, r"gives no vectors: \w+Error: ", "of one model"),
}


@pytest.mark.parametrize("name", _UNFIT)
def test_files_that_do_not_fit_each_other_are_told(copy: Path, name: str) -> None:
    spoil, says, hint = _UNFIT[name]
    spoil(copy)
    with pytest.raises(InputError, match=says) as refused:
        vectors(settings(copy))
    assert str(copy) in refused.value.message
    assert hint in refused.value.hint


def test_a_device_that_fails_is_no_fault_of_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(transformers.BertModel, "forward", fails)
    with pytest.raises(Unavailable, match="gives no vectors: RuntimeError: CUDA error"):
        vectors(settings(folder))


def test_code_of_the_model_is_never_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    mine = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}, "model_type": "evil"}
    (copy / "config.json").write_text(json.dumps({**config, **mine}))
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        model.Model(settings(copy), 1)
    assert not (copy / "ran").exists()
