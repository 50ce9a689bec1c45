import pytest

from gateway.errors import UpstreamRefused, UpstreamUnavailable
from gateway.upstream.embeddings import EmbeddingModel
from tests.fakes.serving import closed_port_url, serving
from tests.fakes.upstream import Reply, ScriptedModel

FIELDS = {"model": "e", "input": ["a", "b"]}


async def test_the_body_comes_as_it_was_sent_and_the_key_goes_along() -> None:
    server = ScriptedModel(Reply(body=b'{"data": []}'))
    with serving(server) as url:
        model = EmbeddingModel(url + "/v1", "secret", 5)
        assert await model.embed(FIELDS) == b'{"data": []}'
        model.close()
    assert server.requests == [FIELDS]
    assert server.headers[0]["authorization"] == "Bearer secret"


async def test_failures_are_those_of_any_model() -> None:
    server = ScriptedModel(Reply(status=400, body={"error": {"message": "too long"}}))
    with serving(server) as url:
        model = EmbeddingModel(url + "/v1/", None, 5)
        with pytest.raises(UpstreamRefused, match="too long"):
            await model.embed(FIELDS)
        model.close()
    assert "authorization" not in server.headers[0]
    away = EmbeddingModel(closed_port_url(), None, 5)
    with pytest.raises(UpstreamUnavailable):
        await away.embed(FIELDS)
    away.close()
