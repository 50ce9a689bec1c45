"""What deploy/upgrading.md says of formats is what the code has, and each row of it is tested.

What it tells operators to restore with fits the manifests.
"""

import re

import pytest
import yaml

from distill import cluster_file, evaluation_file
from distill import pairs as pair_reader
from gateway import cascades
from gateway import pairs as pair_writer
from gateway.stores import completion_scripts, posting, segment, turn_store
from routing import policy_file, rollout_file
from tests.deploy.rendering import KUSTOMIZE, ROOT, render
from tests.deploy.test_schemas import releases

PAGE = "deploy/upgrading.md"


class Held:
    """A format's version, None without one, and the tests of readers that meet a later one."""

    def __init__(self, version: int | None, *tests: str) -> None:
        self.version = version
        self.tests = tests


FORMATS = {
    "`cascades.yaml`": Held(
        cascades.SCHEMA_VERSION, "test_a_file_that_is_no_configuration_is_refused"
    ),
    "keys file": Held(None, "test_a_file_that_is_no_key_file_is_refused"),
    "keys in Redis, and `keys.json`": Held(
        None, "test_an_entry_that_cannot_be_read_is_no_key_and_the_others_are"
    ),
    "policy file": Held(
        policy_file.SCHEMA_VERSION,
        "test_policy_of_another_schema_says_what_to_run_whatever_else_is_wrong",
    ),
    "segment of a journal": Held(
        segment.VERSION,
        "test_a_directory_that_cannot_be_used_is_told_once_and_stops_nothing",
        "test_a_version_of_the_format_has_the_kinds_of_streams_that_its_readers_know",
    ),
    "`progress.json` of a journal": Held(
        None,
        "test_what_a_later_release_says_of_its_progress_beside_it_is_left_out",
        "test_progress_that_makes_no_sense_ships_again_rather_than_losing",
    ),
    "record of a pair": Held(
        pair_writer.SCHEMA_VERSION,
        "test_a_record_of_a_later_form_is_shipped_as_it_is",
        "test_a_newer_version_is_named",
        "test_what_is_no_pair_is_kept_aside",
        "test_what_nobody_can_read_is_deleted_all_the_same",
    ),
    "posting of the ledger": Held(
        posting.SCHEMA_VERSION,
        "test_a_posting_that_nobody_understands_waits_and_holds_up_no_pairs",
    ),
    "record of a stored completion": Held(
        completion_scripts.SCHEMA_VERSION,
        "test_what_is_no_record_waits_for_a_gateway_that_knows_it",
    ),
    "stored completion in Redis": Held(
        None, "test_what_a_later_release_says_of_a_stored_completion_is_left_out"
    ),
    "books of the ledger": Held(None, "test_what_a_later_gateway_counts_beside_it_is_left_out"),
    "books of [limits](../docs/limits.md)": Held(
        None, "test_what_somebody_else_wrote_there_is_taken_for_nothing"
    ),
    "wish to delete": Held(None, "test_a_deletion_is_of_a_request_or_of_a_tenant_up_to_its_time"),
    "generations, in Redis and `generations-CASCADE.json`": Held(
        rollout_file.SCHEMA_VERSION,
        "test_a_state_that_is_no_use_is_refused_whole_and_the_one_in_force_stays",
        "test_a_saved_state_that_is_no_use_does_not_keep_a_gateway_from_starting",
        "test_what_is_no_state_is_not_overwritten",
    ),
    "turns of [conversations](../docs/conversations.md) in Redis": Held(
        turn_store.VERSION,
        "test_pages_follow_each_other_and_what_is_not_understood_is_passed_over",
    ),
    "heartbeat of a replica": Held(
        None,
        "test_what_a_later_release_says_beside_it_is_left_out",
        "test_heartbeats_that_lack_something_are_left_out",
    ),
    "where adapters are loaded, what was last seen of a candidate": Held(
        None, "test_what_another_release_says_of_adapters_and_candidates_is_done_without"
    ),
    "Parquet parts": Held(
        None,
        "test_a_column_of_a_later_release_is_left_out",
        "test_a_part_that_was_cut_off_or_is_somebody_elses_is_named",
    ),
    "files of `distill` (`evaluation.json`, `clusters.json`)": Held(
        evaluation_file.SCHEMA_VERSION,
        "test_another_file_is_refused_with_the_place",
        "test_clusters_that_are_none_are_refused",
    ),
}


def rows() -> dict[str, str]:
    """The table's formats, with what it says of their versions."""
    section = (ROOT / PAGE).read_text(encoding="utf-8").partition("\n## Formats\n")[2]
    table = section.partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {name: version for name, version, _ in cells[2:]}


@pytest.fixture(scope="module")
def tests_there_are() -> str:
    files = (ROOT / "tests").glob("**/test_*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_table_has_every_format() -> None:
    assert list(rows()) == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_says_the_version_and_is_held_by_tests(name: str, tests_there_are: str) -> None:
    held, told = FORMATS[name], re.findall(r"\d+", rows()[name])
    assert told == ([] if held.version is None else [str(held.version)])
    assert [each for each in held.tests if f"def {each}(" not in tests_there_are] == []


def test_writers_and_readers_of_one_format_have_one_version() -> None:
    assert pair_writer.SCHEMA_VERSION == pair_reader.SCHEMA_VERSION
    assert cluster_file.SCHEMA_VERSION == evaluation_file.SCHEMA_VERSION


def test_the_pod_that_restores_can_read_and_write_what_the_store_does() -> None:
    shown = re.search(
        r"<<'END'\n(.*?)\nEND\n", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown
    pod = yaml.safe_load(shown[1])
    assert [fault for release in releases() for fault in release.faults(pod)] == []
    (store,) = (
        each
        for each in render(KUSTOMIZE / "overlays/dev")
        if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", "valkey")
    )
    spec = store["spec"]["template"]["spec"]
    (container,), (restoring,) = spec["containers"], pod["spec"]["containers"]
    assert restoring["image"] == container["image"]
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        assert pod["spec"]["securityContext"][name] == spec["securityContext"][name]
    (claim,) = store["spec"]["volumeClaimTemplates"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == f"{claim['metadata']['name']}-valkey-0"
    assert restoring["volumeMounts"][0]["mountPath"] == "/data"
