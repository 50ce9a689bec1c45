"""The rules that renderings of deploy/kustomize keep, by name.

A rule reads the manifests of one rendering and tells what is wrong, a sentence each.  Its docstring
says why it is there, where its name does not.
"""

from collections.abc import Callable, Iterable

from tests.deploy import rules_gateway, rules_links, rules_pods, rules_production, rules_secrets
from tests.deploy.manifests import Manifests

Rule = Callable[[Manifests], Iterable[str]]

# Whatever is combined.
ALWAYS: tuple[Rule, ...] = (
    rules_pods.runs_as_a_numbered_user,
    rules_pods.root_file_system_is_read_only,
    rules_pods.has_no_privileges,
    rules_pods.has_a_seccomp_profile,
    rules_pods.keeps_off_the_node,
    rules_pods.has_no_token,
    rules_pods.says_what_it_takes,
    rules_pods.answers_probes,
    rules_pods.image_is_pinned,
    rules_pods.is_labelled,
    rules_pods.is_in_one_namespace,
    rules_pods.names_are_valid,
    rules_pods.nothing_is_null,
    rules_pods.gives_a_name_once,
    rules_secrets.secrets_come_from_elsewhere,
    rules_secrets.variables_hold_no_secrets,
    rules_secrets.files_hold_no_secrets,
    rules_links.selectors_match_their_pods,
    rules_links.services_lead_to_ports,
    rules_links.every_pod_of_a_service_is_meant,
    rules_links.headless_services_are_there,
    rules_links.mounts_have_volumes,
    rules_links.routes_lead_to_services,
    rules_gateway.variables_are_settings,
    rules_gateway.settings_are_valid,
    rules_gateway.ends_in_time,
    rules_gateway.files_are_where_settings_say,
    rules_gateway.cascades_are_valid,
    rules_gateway.models_are_served,
    rules_gateway.gpus_are_all_used,
)

# Where all is there that the parts speak of: overlays, and what a page shows as one.
COMPLETE: tuple[Rule, ...] = (
    rules_links.what_pods_refer_to_is_there,
    rules_links.policies_select_pods,
    rules_links.monitors_find_their_ports,
    rules_links.peers_are_there,
    rules_links.what_is_scaled_is_there,
    rules_gateway.models_are_asked_where_a_service_is,
)

# Where the component `production` is among them.
IN_PRODUCTION: tuple[Rule, ...] = (
    rules_production.there_are_three_gateways,
    rules_production.drains_leave_enough,
    rules_production.replicas_are_apart,
    rules_production.has_a_priority,
    rules_production.memory_is_not_lent,
)

RULES = {rule.__name__: rule for rule in (*ALWAYS, *COMPLETE, *IN_PRODUCTION)}


def faults(manifests: Manifests, rules: Iterable[Rule]) -> list[str]:
    """What is wrong with a rendering by these rules."""
    return [f"{rule.__name__}: {fault}" for rule in rules for fault in rule(manifests)]
