"""A sentence encoder from a folder, as Hugging Face lays it out: config.json, tokenizer.json and safetensors.

Nothing is fetched, nothing is unpickled, no code of the model's own is run: what transformers knows by its name in
config.json is used (BERT, RoBERTa, MPNet, XLM-R, ModernBERT and their like), and what it gives for each token is pooled
here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ddr.errors import InputError, Refused, Unavailable
from ddr.lib import redact

Pooling = Literal["mean", "cls"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_POOLING = "1_Pooling/config.json"
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_MODULES = "modules.json"
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_PADDED = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Their first positions are of padding: so many fewer are left for tokens."""
_INSTALL = "pip install 'ddr[embed]'"
_OF_ONE = f"{CONFIG}, {TOKENIZER} and the weights must be of one model; copy it again"


@dataclass(frozen=True)
class Settings:
    """How texts become vectors by the model in `folder`. The last two decide only how exactly it is computed."""

    folder: Path
    pooling: Literal["auto", "mean", "cls"] = "auto"
    max_tokens: int = 256
    prefix: str = ""
    is_normalised: bool = True
    device: str = "auto"
    precision: Precision = "auto"


def weights(folder: Path) -> tuple[Path, ...]:
    """Its safetensors. InputError where the folder is no model that is read here."""
    if not folder.is_dir():
        raise InputError(
            f"model {folder} is not there", hint="a folder with config.json, tokenizer.json, *.safetensors"
        )
    for name in (CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} has no {name}", hint="a model as transformers saves it, with its fast tokenizer"
            )
    _check_modules(folder)
    found = tuple(sorted(folder.glob("*.safetensors")))
    if not found:
        has_pickle = any(True for pattern in _PICKLES for _ in folder.glob(pattern))
        why = "only pickles, and loading one runs whatever is in it" if has_pickle else "no weights"
        raise InputError(f"{folder} has {why}", hint="save the model with safe_serialization=True")
    return found


def _check_modules(folder: Path) -> None:
    """What sentence-transformers would do after the encoder, and is not done here, would be missed without a word."""
    path = folder / _MODULES
    if not path.is_file():
        return
    try:
        types = [str(one["type"]).rpartition(".")[2] for one in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise InputError(f"{path} cannot be read: {redact.foreign(problem)}", hint="copy the model again") from problem
    if odd := sorted(set(types) - _KNOWN_MODULES):
        raise InputError(
            f"{path}: the model ends in {', '.join(odd)}", hint=f"known are {', '.join(sorted(_KNOWN_MODULES))}"
        )


def pooling(settings: Settings) -> Pooling:
    """As it was asked for, or as the model says; mean where it says nothing. InputError for a kind that is not here."""
    if settings.pooling != "auto":
        return settings.pooling
    path = settings.folder / _POOLING
    if not path.is_file():
        return "mean"
    said = document(path)
    modes = [name for name, value in said.items() if name.startswith("pooling_mode_") and value is True]
    if said.get("pooling_mode") in ("mean", "cls"):  # how newer versions write it
        return "mean" if said["pooling_mode"] == "mean" else "cls"
    if len(modes) != 1 or modes[0] not in _MODES:
        raise InputError(
            f"{path}: pools by {' and '.join(modes) or 'nothing'}", hint="mean and cls are known; `pooling:` says one"
        )
    return "mean" if _MODES[modes[0]] == "mean" else "cls"


def document(path: Path) -> dict[str, Any]:
    """A JSON object of the model. InputError."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path} cannot be read: {redact.foreign(problem)}", hint="copy the model again") from problem
    if not isinstance(found, dict):
        raise InputError(f"{path} is no JSON object", hint="copy the model again")
    return found


class Model:
    """Loaded onto its device. `threads` are those of the CPU."""

    def __init__(self, settings: Settings, threads: int) -> None:
        weights(settings.folder)
        self._settings, self._pooling = settings, pooling(settings)
        config = document(settings.folder / CONFIG)
        _check_length(settings, config)
        self._torch = _module("torch")
        self._device = _device(self._torch, settings.device)
        precision = _precision(self._torch, self._device, settings.precision)
        self._tokenizer = _tokenizer(settings)
        self._pad = int(config.get("pad_token_id") or 0)
        self._config = config
        if self._device.type == "cpu":
            self._torch.set_num_threads(threads)
        self._model = _loaded(self._torch, settings.folder, precision).to(self._device).eval()
        self.facts: Mapping[str, str] = {
            "precision": precision,
            "device": self._device.type,
            "torch": str(self._torch.__version__),
            "transformers": str(_module("transformers").__version__),
        }

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        prefix = self._settings.prefix
        found = self._tokenizer.encode_batch_fast([prefix + text for text in texts])
        return [list(one.ids) or [self._pad] for one in found]

    def vectors(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """InputError where the files of the model do not fit each other, Unavailable where the device fails. That there
        is no memory passes through."""
        lengths = np.array([len(tokens) for tokens in batch])
        padded = np.full((len(batch), int(lengths.max())), self._pad, np.int64)
        for row, tokens in enumerate(batch):
            padded[row, : len(tokens)] = tokens
        self._check_tokens(padded)
        is_token = np.arange(padded.shape[1])[None, :] < lengths[:, None]
        try:
            return self._pooled(padded, is_token)
        except Exception as problem:
            if self.is_out_of_memory(problem):
                raise
            raise self._failed(problem) from problem

    def _check_tokens(self, tokens: NDArray[np.int64]) -> None:
        """Before the device sees them: what a GPU is asked for beyond its table ends all work on it."""
        known = self._config.get("vocab_size")
        if not isinstance(known, int):
            return
        odd = tokens[(tokens < 0) | (tokens >= known)]
        if odd.size:
            raise InputError(
                f"model {self._settings.folder}: its tokenizer gives token {odd[0]}, its weights have 0 to {known - 1}",
                hint=_OF_ONE,
            )

    def _failed(self, problem: Exception) -> InputError | Unavailable:
        what = f"model {self._settings.folder} gives no vectors: {type(problem).__name__}: {redact.foreign(problem)}"
        if isinstance(problem, RuntimeError):
            return Unavailable(what, hint="look at the device with `dmesg`; `device: cpu` does without a GPU")
        if self._config.get("is_encoder_decoder"):
            return InputError(what, hint="it has a decoder, too; take a sentence encoder, as BERT is one")
        return InputError(what, hint=_OF_ONE)

    def _pooled(self, padded: NDArray[np.int64], is_token: NDArray[np.bool_]) -> NDArray[np.float32]:
        torch = self._torch
        with torch.inference_mode():
            mask = torch.from_numpy(is_token).to(self._device)
            given = torch.from_numpy(padded).to(self._device)
            hidden = self._model(input_ids=given, attention_mask=mask.long()).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask.float()[:, :, None]
                pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
            if self._settings.is_normalised:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            return np.ascontiguousarray(pooled.cpu().numpy(), np.float32)

    def is_out_of_memory(self, problem: BaseException) -> bool:
        """torch has a class for its GPUs' and words for the CPU's."""
        is_known = isinstance(problem, (self._torch.OutOfMemoryError, MemoryError))
        return is_known or "allocate memory" in str(problem)

    def free(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as problem:  # OSError: its own shared library does not load
        raise Unavailable(f"{name} cannot be imported: {redact.foreign(problem)}", hint=_INSTALL) from problem


def _check_length(settings: Settings, config: dict[str, Any]) -> None:
    most = config.get("max_position_embeddings")
    if not isinstance(most, int):
        return
    if config.get("model_type") in _PADDED:
        most -= 2
    if settings.max_tokens > most:
        raise InputError(
            f"maxTokens is {settings.max_tokens}, {settings.folder.name} reads {most} at most",
            hint=f"maxTokens: {most}",
        )


def _device(torch: Any, wanted: str) -> Any:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise InputError(f"there is no device {wanted}", hint="auto, cpu, cuda, cuda:1 or mps")
    seen = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= seen:
        raise Refused(f"torch sees {seen} GPUs, device {wanted} is not among them", hint="take device auto or cpu")
    return torch.device(wanted)


def _precision(torch: Any, device: Any, wanted: Precision) -> str:
    """bf16 has the range of fp32 and is taken where the GPU computes in it."""
    if wanted != "auto":
        return wanted
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _tokenizer(settings: Settings) -> Any:
    """Its file may ask for padding to a fixed length and for another limit: both are decided here."""
    path = settings.folder / TOKENIZER
    try:
        made = _module("tokenizers").Tokenizer.from_file(str(path))
        made.no_padding()
        made.enable_truncation(max_length=settings.max_tokens)
    except Unavailable:
        raise
    except Exception as problem:
        raise InputError(f"{path} cannot be read: {redact.foreign(problem)}", hint="copy the model again") from problem
    return made


def _loaded(torch: Any, folder: Path, precision: str) -> Any:
    transformers = _module("transformers")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    try:
        with _quiet(transformers):
            model, told = transformers.AutoModel.from_pretrained(
                str(folder.absolute()),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=dtype,
            )
    except MemoryError as problem:
        raise Unavailable(f"there is no memory for the model {folder}", hint="a machine with more") from problem
    except Exception as problem:
        raise InputError(
            f"model {folder} cannot be loaded: {redact.foreign(problem)}",
            hint="copy it again; code of its own is never run, pickles are never read",
        ) from problem
    left_out = sorted(name for name in told["missing_keys"] if "pooler" not in name)
    if left_out:
        raise InputError(
            f"{folder}: its weights lack {len(left_out)} tensors of its config: {', '.join(left_out[:3])}",
            hint="they would be drawn at random, other ones each time; copy the model again",
        )
    return model


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no advice on stderr: what matters is raised."""
    logs = transformers.utils.logging
    level, has_bar = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if has_bar:
            logs.enable_progress_bar()
