"""What a cascade says of rented GPUs is what the manifests beside it rent."""

import copy
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from gateway.cascades import ModelConfig
from gateway.prices import GpuPriceConfig
from tests.deploy.manifests import Manifests, of_kind, quantity
from tests.deploy.rendering import Combination
from tests.deploy.rules_gateway import gateways
from tests.deploy.rules_links import selected

GPU = "nvidia.com/gpu"
LARGEST = Combination("overlays/gpu").manifests


def test_the_rent_is_of_all_gpus_and_shared_by_all_gateways() -> None:
    assert list(faults(LARGEST)) == []


@pytest.mark.parametrize(
    ("name", "count", "fault"),
    [
        ("gateway", 2, "student is shared by 3 gateways, and there are 2"),
        ("student", 2, "student rents 1 GPUs, and there are 2"),
        ("teacher", 2, "teacher rents 4 GPUs, and there are 8"),
    ],
)
def test_more_pods_than_the_price_says_are_noticed(name: str, count: int, fault: str) -> None:
    manifests = copy.deepcopy(LARGEST)
    (owner,) = (each for each in of_kind(manifests, "StatefulSet") if named(each) == name)
    owner["spec"]["replicas"] = count
    assert fault in list(faults(manifests))


def faults(manifests: Manifests) -> Iterator[str]:
    for gateway in gateways(manifests):
        for cascade in gateway.cascades():
            models = {"student": cascade.config.student, "teacher": cascade.config.teacher}
            for role, model in models.items():
                assert isinstance(model.price, GpuPriceConfig), f"{role}: not by the hour"
                sharing = gateway.container.pod.owner["spec"]["replicas"]
                if model.price.gateways != sharing:
                    yield (
                        f"{role} is shared by {model.price.gateways} gateways, "
                        f"and there are {sharing}"
                    )
                if model.price.gpus != (there := gpus_of(model, manifests)):
                    yield f"{role} rents {model.price.gpus} GPUs, and there are {there}"


def gpus_of(model: ModelConfig, manifests: Manifests) -> int:
    """Of all pods behind the Service that a model is asked at."""
    host = urlsplit(model.base_urls[0]).hostname
    (service,) = (each for each in of_kind(manifests, "Service") if named(each) == host)
    return sum(
        int(quantity(container.spec["resources"]["limits"][GPU])) * pod.owner["spec"]["replicas"]
        for pod in selected(service, manifests)
        for container in pod.serving
    )


def named(manifest: dict[str, object]) -> object:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    return metadata["name"]
