"""A student as GGUF for llama.cpp, Q8_0, written with its base's GGUF as the template.

Tokenizer, chat template and all settings are the template's; only the weights are new.  That is
right where a tensor of the one is a tensor of the other, up to the order of rows in which llama
keeps queries and keys; where it is not, llama.cpp's own converter has to do it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import torch

from distill.folder import written
from distill.recipe import CannotTrain

_ARCHITECTURE = "llama"
_ELSEWHERE = (
    "run llama.cpp's convert_hf_to_gguf.py --outtype q8_0 on merged/ (--merge makes it) instead"
)
# Not weights: what the template has computed for itself stays as it is.
_KEPT = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def check_template(path: Path) -> None:
    """Refuse a template of another kind before hours are spent.  Raises CannotTrain."""
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError) as error:
        raise CannotTrain(f"{path} is no GGUF file: {error}") from None
    architecture = _value(reader, gguf.Keys.General.ARCHITECTURE)
    if architecture != _ARCHITECTURE:
        raise CannotTrain(
            f"{path} is of the architecture {architecture}, and only {_ARCHITECTURE} is written "
            f"here: {_ELSEWHERE}"
        )


def write(path: Path, model: Any, template: Path, name: str) -> None:
    """Write a merged model.  Raises CannotTrain where the template does not fit it."""
    reader = gguf.GGUFReader(template)
    weights = _weights(model, reader)
    with written(path) as beside:
        writer = gguf.GGUFWriter(beside, _ARCHITECTURE)
        _copy_settings(reader, writer, name)
        for tensor in reader.tensors:
            data = weights.pop(tensor.name, None)
            if data is None:
                if tensor.name not in _KEPT:
                    raise CannotTrain(
                        f"{template}: {tensor.name} is not in the model: {_ELSEWHERE}"
                    )
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
                continue
            if list(data.shape) != [int(size) for size in reversed(tensor.shape)]:
                raise CannotTrain(f"{template}: {tensor.name} has another shape: {_ELSEWHERE}")
            kind = _kind(data)
            writer.add_tensor(tensor.name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        if weights:
            raise CannotTrain(f"{template} lacks {', '.join(sorted(weights))}: {_ELSEWHERE}")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _copy_settings(reader: Any, writer: Any, name: str) -> None:
    general = gguf.Keys.General
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == general.ARCHITECTURE:
            continue  # the writer has its own
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = {
            general.NAME: name,
            general.FILE_TYPE: int(gguf.LlamaFileType.MOSTLY_Q8_0),
        }.get(field.name, field.contents())
        writer.add_key_value(field.name, value, kind, sub_type=inner)


def _weights(model: Any, reader: Any) -> dict[str, Any]:
    """The model's weights by the names and in the order of rows that llama.cpp has."""
    config = model.config
    if config.model_type not in {"llama", "mistral"}:
        raise CannotTrain(f"a {config.model_type} model is not written here: {_ELSEWHERE}")
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    is_tied = config.tie_word_embeddings and not any(
        tensor.name == "output.weight" for tensor in reader.tensors
    )
    found = {}
    for key, tensor in _state(model).items():
        if key == "lm_head.weight" and is_tied:
            continue
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise CannotTrain(f"{key} has no name in GGUF: {_ELSEWHERE}")
        data = tensor.to(torch.float32).numpy()
        if ".self_attn.q_proj." in key:
            data = _interleaved(data, heads)
        elif ".self_attn.k_proj." in key:
            data = _interleaved(data, key_heads)
        found[name] = data
    return found


def _state(model: Any) -> Mapping[str, Any]:
    state: Mapping[str, Any] = model.state_dict()
    return state


def _interleaved(rows: Any, heads: int) -> Any:
    """Hugging Face keeps the halves of a rotation apart, llama.cpp its pairs together."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _kind(data: Any) -> Any:
    """Vectors stay exact; a matrix whose rows are no whole blocks takes half precision."""
    if data.ndim == 1:
        return gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0]
    if data.shape[-1] % block:
        return gguf.GGMLQuantizationType.F16
    return gguf.GGMLQuantizationType.Q8_0


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()
