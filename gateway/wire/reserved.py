"""Fields that no client may set, or may write as it likes."""

from collections.abc import Mapping

import msgspec

from gateway.errors import RequestError

# Each of these lets a client change what the server does for others, how it reads prompts, what it
# reports of its answer (of which the evidence is read), or which server and model a proxy asks; or
# is another word of the server's own for how many answers, how long, are wanted.
OPERATOR_ONLY = frozenset(
    {"chat_template", "priority", "cache_salt", "mm_processor_kwargs", "media_io_kwargs"}
    | {"kv_transfer_params", "ec_transfer_params", "vllm_xargs", "request_id", "rid"}
    | {"data_parallel_rank", "lora", "lora_path", "id_slot", "slot_id", "samplers", "chat_parser"}
    | {"post_sampling_probs", "logits_processors", "custom_logit_processor", "extra_key"}
    | {
        "return_tokens_as_token_ids",
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "session_params",
    }
    | {"api_base", "api_key", "base_url", "models", "provider", "fallbacks", "user_config"}
    | {"extra_body", "extra_headers", "n_cmpl", "n_predict"}
)
OPERATOR_ONLY_TEMPLATE = "chat_template"
# What is read here, judged, or put in place of the client's.  Servers that are written in Go, such
# as Ollama, read a name in any case, and of two that they take for the same the last one.
READ_HERE = frozenset(
    {"model", "messages", "prompt", "input", "stream", "stream_options", "store", "metadata", "n"}
    | {"logprobs", "top_logprobs", "logit_bias", "allowed_token_ids", "stop_token_ids"}
    | {"max_tokens", "max_completion_tokens", "min_tokens", "tools", "functions", "tool_choice"}
    | {"response_format", "chat_template_kwargs", "continue_final_message", "understudy"}
)


def refuse_reserved(
    fields: Mapping[str, msgspec.Raw], template: Mapping[str, msgspec.Raw] | None = None
) -> None:
    """Raise RequestError for what only an operator may set, and for names that are written such
    that not all servers read the same; ``template`` are a template's."""
    for name in fields:
        if name in READ_HERE:
            continue
        plain = name.casefold()
        if plain in OPERATOR_ONLY:
            raise RequestError(f"'{name}' can only be set by the gateway's operator.", param=name)
        if plain in READ_HERE:
            raise RequestError(f"'{name}' must be written '{plain}'.", param=name)
    if OPERATOR_ONLY_TEMPLATE in (template or ()):
        path = f"chat_template_kwargs.{OPERATOR_ONLY_TEMPLATE}"
        raise RequestError(f"'{path}' can only be set by the gateway's operator.", param=path)
