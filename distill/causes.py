"""Why a pair is not in a data set: one closed list, whose texts are the keys of the data card."""

from enum import StrEnum


class Cause(StrEnum):
    """Why a pair was left out."""

    # Not a pair of its own, or no longer.
    DUPLICATE_ID = "duplicate_id"
    DELETED = "deleted"
    COMPLETED_LATER = "completed_later"
    # Filters.
    OTHER_CASCADE = "other_cascade"
    OTHER_REASON = "other_reason"
    OTHER_TIME = "other_time"
    OTHER_STUDENT_VERSION = "other_student_version"
    OTHER_CONFIDENCE = "other_confidence"
    # Consent.
    TENANT_MAY_NOT_TRAIN = "tenant_may_not_train"
    TEACHER_OUTPUTS_MAY_NOT_TRAIN = "teacher_outputs_may_not_train"
    # No target.
    CONTENT_DROPPED = "content_dropped"
    SEAL_BROKEN = "seal_broken"
    SPLICED = "spliced"
    ANSWER_CUT_SHORT = "answer_cut_short"
    ANSWER_REFUSED = "answer_refused"
    ANSWER_EMPTY = "answer_empty"
    SEVERAL_ANSWERS = "several_answers"
    # No rejected answer.
    NO_DRAFT = "no_draft"
    DRAFT_INCOMPLETE = "draft_incomplete"
    DRAFT_UNUSABLE = "draft_unusable"
    DRAFT_AGREES = "draft_agrees"
    # What the format cannot express.
    BARE_PROMPT = "bare_prompt"
    NOT_TEXT = "not_text"
    CONTINUATION = "continuation"
    LEGACY_FUNCTIONS = "legacy_functions"
    CUSTOM_TOOLS = "custom_tools"
    ARGUMENTS_NOT_JSON = "arguments_not_json"
    NAME_NOT_ALLOWED = "name_not_allowed"
    UNKNOWN_ROLE = "unknown_role"
    UNREADABLE = "unreadable"
    # Chosen away.
    DUPLICATE_PROMPT = "duplicate_prompt"
    OVER_TENANT_CAP = "over_tenant_cap"
    # Curated away.
    IN_HOLDOUT = "in_holdout"
    NEAR_HOLDOUT = "near_holdout"
    ANSWER_NOT_AS_ASKED = "answer_not_as_asked"
    ANSWER_REPEATS = "answer_repeats"
    NEAR_DUPLICATE = "near_duplicate"
    OVER_CLUSTER_CAP = "over_cluster_cap"


class LeftOut(Exception):
    """A pair that a format cannot hold, and why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause
