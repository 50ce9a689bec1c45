"""Every rendering keeps our rules, and every rule notices what it is for."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import policy
from tests.deploy.documented import EVERY
from tests.deploy.manifests import name_of
from tests.deploy.policy import ALWAYS, COMPLETE, IN_PRODUCTION, RULES
from tests.deploy.rendering import Combination, Manifest, names_of

# No two of its parts are one object in what is read from this, whatever YAML's anchors say.
SOUND = json.dumps(yaml.safe_load(Path(__file__).with_name("sound.yaml").read_bytes()))
GONE = object()

# What is broken: in which object, where in it, and what stands there instead.
POD = "spec.template.spec"
GATEWAY = f"{POD}.containers.0"
STATE = "spec.volumeClaimTemplates.0.spec"
JOB = "spec.jobTemplate.spec.template.spec"
BREAKS: dict[str, list[tuple[str, str, object]]] = {
    "runs_as_a_numbered_user": [
        ("StatefulSet/gateway", f"{POD}.securityContext.runAsNonRoot", GONE),
        ("StatefulSet/gateway", f"{POD}.securityContext.runAsUser", 0),
        ("StatefulSet/gateway", f"{GATEWAY}.securityContext.runAsNonRoot", False),
        ("CronJob/train", f"{JOB}.securityContext", GONE),
    ],
    "root_file_system_is_read_only": [
        ("Deployment/student", f"{GATEWAY}.securityContext.readOnlyRootFilesystem", False),
        ("Deployment/student", f"{POD}.initContainers", [{"name": "a", "image": "a:1.0"}]),
    ],
    "has_no_privileges": [
        ("Deployment/student", f"{GATEWAY}.securityContext.allowPrivilegeEscalation", GONE),
        ("Deployment/student", f"{GATEWAY}.securityContext.privileged", True),
        ("Deployment/student", f"{GATEWAY}.securityContext.capabilities.drop", ["NET_RAW"]),
        ("Deployment/student", f"{GATEWAY}.securityContext.capabilities.add", ["IPC_LOCK"]),
    ],
    "has_a_seccomp_profile": [
        ("Deployment/student", f"{POD}.securityContext.seccompProfile.type", "Unconfined"),
        ("Deployment/student", f"{POD}.securityContext.seccompProfile", GONE),
    ],
    "keeps_off_the_node": [
        ("Deployment/student", f"{POD}.hostNetwork", True),
        ("Deployment/student", f"{POD}.volumes.0", {"name": "adapters", "hostPath": {"path": "/"}}),
        ("Deployment/student", f"{GATEWAY}.ports.0.hostPort", 80),
    ],
    "has_no_token": [("CronJob/train", f"{JOB}.automountServiceAccountToken", GONE)],
    "says_what_it_takes": [
        ("CronJob/train", f"{JOB}.containers.0.resources", GONE),
        ("CronJob/train", f"{JOB}.containers.0.resources.requests.cpu", GONE),
        ("CronJob/train", f"{JOB}.containers.0.resources.limits.memory", GONE),
        ("CronJob/train", f"{JOB}.containers.0.resources.limits.memory", "500Mi"),
    ],
    "answers_probes": [
        ("Deployment/student", f"{GATEWAY}.startupProbe", GONE),
        ("Deployment/student", f"{GATEWAY}.readinessProbe.httpGet.port", "https"),
        ("StatefulSet/gateway", f"{GATEWAY}.livenessProbe.httpGet.port", 8082),
    ],
    "image_is_pinned": [
        ("Deployment/student", f"{GATEWAY}.image", "vllm/vllm-openai"),
        ("Deployment/student", f"{GATEWAY}.image", "vllm/vllm-openai:latest"),
        ("Deployment/student", f"{GATEWAY}.image", "registry:5000/vllm-openai"),
        ("Deployment/student", f"{GATEWAY}.image", "valkey:9-alpine"),
    ],
    "is_labelled": [
        ("Service/student", "metadata.labels", GONE),
        ("Deployment/student", "spec.template.metadata.labels.app~kubernetes~io/name", ""),
    ],
    "is_in_one_namespace": [
        ("Service/student", "metadata.namespace", GONE),
        ("Service/student", "metadata.namespace", "default"),
        ("PriorityClass/serving", "metadata.namespace", "understudy"),
    ],
    "names_are_valid": [
        ("ServiceMonitor/gateway", "metadata.name", "Gateway"),
        ("Service/gateway-pods", "metadata.name", "a" * 64),
        ("Service/student", "metadata.labels.app~kubernetes~io/name", "an understudy"),
        ("Deployment/student", f"{GATEWAY}.ports.0.name", "as-long-as-a-train"),
    ],
    "nothing_is_null": [("Deployment/student", f"{GATEWAY}.env", [{"name": "A", "value": None}])],
    "gives_a_name_once": [
        ("Deployment/student", f"{GATEWAY}.env", [{"name": "A"}, {"name": "A"}]),
        ("CronJob/train", f"{JOB}.volumes", [{"name": "a", "emptyDir": {}}] * 2),
    ],
    "secrets_come_from_elsewhere": [("ConfigMap/config", "kind", "Secret")],
    "variables_hold_no_secrets": [
        ("StatefulSet/gateway", f"{GATEWAY}.env.7", {"name": "STUDENT_API_KEY", "value": "abc"}),
        ("StatefulSet/gateway", f"{GATEWAY}.env.6", {"name": "A", "value": "redis://:abc@a:6379"}),
        ("Deployment/student", f"{GATEWAY}.args.0", "--api-key=abc"),
        ("CronJob/train", f"{JOB}.containers.0.args", ["--requirepass", "abc"]),
        ("CronJob/train", f"{JOB}.containers.0.args", ["--note", "sk-" + "0123456789abcdef"]),
    ],
    "files_hold_no_secrets": [
        ("ConfigMap/config", "data.valkey~conf", "appendonly yes\nrequirepass abc\n"),
        ("ConfigMap/config", "data.settings", "url: redis://u:hunter2@valkey:6379/0"),
        ("ConfigMap/config", "data.settings", "api_key: abcdef"),
    ],
    "selectors_match_their_pods": [
        ("Deployment/student", "spec.selector.matchLabels.tier", "gpu"),
        ("Service/student", "spec.selector.tier", "gpu"),
    ],
    "services_lead_to_ports": [("Service/student", "spec.ports.0.targetPort", "https")],
    "every_pod_of_a_service_is_meant": [
        ("Service/student", "spec.selector", {"app.kubernetes.io/name": "understudy"}),
    ],
    "headless_services_are_there": [("StatefulSet/gateway", "spec.serviceName", "gateways")],
    "what_pods_refer_to_is_there": [
        ("ServiceAccount/gateway", "metadata.name", "doorman"),
        ("PriorityClass/serving", "metadata.name", "priority"),
        ("PersistentVolumeClaim/adapters", "metadata.name", "weights"),
        ("StatefulSet/gateway", f"{GATEWAY}.env.7.valueFrom.secretKeyRef.name", "students"),
        ("StatefulSet/gateway", f"{GATEWAY}.env.7.valueFrom.secretKeyRef.key", "key"),
        ("StatefulSet/gateway", f"{POD}.volumes.1.secret.secretName", "door-keys"),
        (
            "StatefulSet/gateway",
            f"{POD}.volumes.0.configMap.items",
            [{"key": "cascade.yaml", "path": "cascades.yaml"}],
        ),
        ("Deployment/student", f"{GATEWAY}.envFrom", [{"configMapRef": {"name": "settings"}}]),
    ],
    "mounts_have_volumes": [
        ("Deployment/student", f"{GATEWAY}.volumeMounts.0.name", "adapter"),
        ("CronJob/train", f"{JOB}.volumes", [{"name": "unused", "emptyDir": {}}]),
    ],
    "routes_lead_to_services": [
        ("HTTPRoute/gateway", "spec.rules.0.backendRefs.0.port", 8080),
        ("HTTPRoute/gateway", "spec.rules.0.backendRefs.0.name", "gate"),
    ],
    "variables_are_settings": [
        ("StatefulSet/gateway", f"{GATEWAY}.env.4.name", "UNDERSTUDY_DRAINS_SECONDS"),
        ("ConfigMap/config", "data.UNDERSTUDY_DRAINS_SECONDS", "120"),
    ],
    "settings_are_valid": [
        ("StatefulSet/gateway", f"{GATEWAY}.env.2", {"name": "A"}),
        ("StatefulSet/gateway", f"{GATEWAY}.env.4.value", "two minutes"),
        ("StatefulSet/gateway", f"{GATEWAY}.args", ["serve", "--insecure"]),
        ("StatefulSet/gateway", f"{GATEWAY}.args", ["serve", "--ops-port=8082"]),
        ("StatefulSet/gateway", f"{GATEWAY}.env.5", {"name": "UNDERSTUDY_PORT", "value": "80"}),
    ],
    "ends_in_time": [
        ("StatefulSet/gateway", f"{POD}.terminationGracePeriodSeconds", 139),
        ("StatefulSet/gateway", f"{POD}.terminationGracePeriodSeconds", GONE),
        ("Deployment/student", f"{POD}.terminationGracePeriodSeconds", 69),
    ],
    "gpus_are_all_used": [
        ("Deployment/student", f"{GATEWAY}.resources.limits.nvidia~com/gpu", "4"),
        ("Deployment/student", f"{GATEWAY}.args", ["--served-model-name=small"]),
    ],
    "files_are_where_settings_say": [
        ("StatefulSet/gateway", f"{GATEWAY}.env.3.value", "/srv"),
        ("StatefulSet/gateway", f"{GATEWAY}.volumeMounts.0.readOnly", True),
        ("StatefulSet/gateway", f"{STATE}.resources.requests.storage", "1Gi"),
        ("StatefulSet/gateway", f"{GATEWAY}.env.2.value", "/etc/understudy/keys.yaml"),
    ],
    "cascades_are_valid": [
        ("ConfigMap/config", "data.cascades~yaml", "cascades: {}"),
        ("StatefulSet/gateway", f"{GATEWAY}.env.7", {"name": "A"}),
        ("StatefulSet/gateway", f"{GATEWAY}.volumeMounts.1.mountPath", "/etc/config"),
    ],
    "models_are_served": [("Deployment/student", f"{GATEWAY}.args.1", "smaller")],
    "policies_select_pods": [
        ("NetworkPolicy/student", "spec.podSelector.matchExpressions.0.values", ["students"]),
        ("PodDisruptionBudget/gateway", "spec.selector", GONE),
    ],
    "monitors_find_their_ports": [
        ("ServiceMonitor/gateway", "spec.endpoints.0.port", "metrics"),
        ("ServiceMonitor/gateway", "spec.selector.matchLabels.monitored", "no"),
        ("PodMonitor/student", "spec.podMetricsEndpoints.0.port", "metrics"),
    ],
    "peers_are_there": [
        ("NetworkPolicy/student", "spec.ingress.0.from.0.podSelector.matchLabels.tier", "gpu"),
        ("NetworkPolicy/student", "spec.ingress.0.ports.0.port", 8001),
    ],
    "what_is_scaled_is_there": [
        ("ScaledObject/student", "spec.scaleTargetRef.kind", "StatefulSet"),
    ],
    "models_are_asked_where_a_service_is": [("Service/student", "spec.ports.0.port", 80)],
    "there_are_three_gateways": [("StatefulSet/gateway", "spec.replicas", 2)],
    "drains_leave_enough": [
        ("PodDisruptionBudget/gateway", "kind", "Budget"),
        ("PodDisruptionBudget/gateway", "spec.maxUnavailable", 0),
        ("PodDisruptionBudget/gateway", "spec", {"minAvailable": "90%", "selector": {}}),
        ("ScaledObject/student", "spec.minReplicaCount", 2),
    ],
    "replicas_are_apart": [
        ("StatefulSet/gateway", f"{POD}.topologySpreadConstraints.1", GONE),
        (
            "StatefulSet/gateway",
            f"{POD}.topologySpreadConstraints.0.labelSelector.matchLabels.tier",
            "gpu",
        ),
        ("StatefulSet/gateway", f"{POD}.topologySpreadConstraints.0.nodeTaintsPolicy", GONE),
    ],
    "has_a_priority": [
        ("Deployment/student", f"{POD}.priorityClassName", GONE),
        ("PriorityClass/training", "value", 1000),
    ],
    "memory_is_not_lent": [("Deployment/student", f"{GATEWAY}.resources.requests.memory", "1Mi")],
}  # fmt: skip


def sound() -> list[Manifest]:
    manifests: list[Manifest] = json.loads(SOUND)
    return manifests


def broken(where: str, path: str, value: object) -> list[Manifest]:
    """The sound rendering with one thing changed; a ``~`` in a path is a dot in a key."""
    manifests = sound()
    node: Any = next(each for each in manifests if name_of(each) == where)
    *way, last = (part.replace("~", ".") for part in path.split("."))
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node[part]
    key: Any = int(last) if isinstance(node, list) else last
    if value is GONE:
        del node[key]
    else:
        node[key] = value
    return manifests


EVERY_BREAK = [
    pytest.param(rule, *change, id=f"{rule}-{change[1]}")
    for rule, changes in BREAKS.items()
    for change in changes
]


def test_a_sound_rendering_keeps_every_rule() -> None:
    assert policy.faults(sound(), RULES.values()) == []


def test_every_rule_is_broken_once_at_least() -> None:
    assert set(BREAKS) == set(RULES)


@pytest.mark.parametrize(("rule", "where", "path", "value"), EVERY_BREAK)
def test_a_rule_notices(rule: str, where: str, path: str, value: object) -> None:
    assert list(RULES[rule](broken(where, path, value)))


def rules_for(combination: Combination) -> tuple[policy.Rule, ...]:
    complete = COMPLETE if combination.is_complete else ()
    in_production = IN_PRODUCTION if "production" in combination.all_components else ()
    return (*ALWAYS, *complete, *in_production)


@pytest.mark.parametrize("combination", EVERY, ids=str)
def test_a_rendering_keeps_the_rules(combination: Combination) -> None:
    found = policy.faults(combination.manifests, rules_for(combination))
    assert not found, "\n".join(found)


def test_every_component_is_looked_at_with_all_that_it_speaks_of() -> None:
    used = {name for each in EVERY if each.is_complete for name in each.all_components}
    assert used == set(names_of("components"))


@pytest.mark.full
@pytest.mark.parametrize("pair", list(combinations(names_of("components"), 2)), ids=" + ".join)
def test_any_two_components_keep_the_rules_together(pair: tuple[str, str]) -> None:
    found = policy.faults(Combination("base", pair).manifests, ALWAYS)
    assert not found, "\n".join(found)
