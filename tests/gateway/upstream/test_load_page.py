import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.load_page import ServerLoad, load_in

# As vLLM 0.32 writes it, with a second engine and other numbers.
VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="student"} 4.0
vllm:num_requests_running{engine="1",model_name="student"} 3.0
vllm:num_requests_waiting{engine="0",model_name="student"} 2.0
vllm:num_requests_waiting{engine="1",model_name="student"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="student",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="student"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="student"} 0.5
"""


@pytest.mark.parametrize(
    ("page", "load"),
    [
        (VLLM, ServerLoad(waiting=3.0, running=7.0, cache=0.5)),
        (b'vllm:gpu_cache_usage_perc{model_name="}"} 0.7', ServerLoad(cache=0.7)),
        (
            b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 2 1700000000000\n",
            ServerLoad(waiting=2.0, running=1.0),
        ),
        (b"vllm:num_requests_waiting NaN\nvllm:num_requests_running\n", ServerLoad()),
        (b"vllm:num_requests_waiting -1\nvllm:num_requests_running x\n", ServerLoad()),
        (b"<html>vllm:num_requests_waiting 3</html>", ServerLoad()),
    ],
    ids=["vllm", "an older vllm", "llama.cpp", "no numbers", "bad numbers", "no metrics"],
)
def test_a_page_says_how_busy_its_server_is(page: bytes, load: ServerLoad) -> None:
    assert load_in(page) == load


@given(st.binary(max_size=200))
def test_no_page_is_too_strange(noise: bytes) -> None:
    load_in(b"vllm:num_requests_waiting" + noise)
