"""What the search index holds: tokens of jobs and actions, and tokens of time buckets. Pure functions."""

from jobs.search_index.time_buckets import UNSCHEDULED_DAY, BucketKind, covering_tokens, day_number, hour_number
from jobs.search_index.tokens import (
    SUBSTRING_CHARS_MIN,
    TOKENIZER_VERSION,
    TokenKind,
    action_parts,
    action_tokens,
    customer_key,
    fills_name_token,
    job_parts,
    job_tokens,
    marked_name,
    metadata_token,
    name_token,
    ngrams_of,
    ngrams_of_name,
    token,
)
from shared.folding import FREE_TEXT_WORDS_MAX, fold, parse_free_text

__all__ = [
    "FREE_TEXT_WORDS_MAX",
    "SUBSTRING_CHARS_MIN",
    "TOKENIZER_VERSION",
    "UNSCHEDULED_DAY",
    "BucketKind",
    "TokenKind",
    "action_parts",
    "action_tokens",
    "covering_tokens",
    "customer_key",
    "day_number",
    "fills_name_token",
    "fold",
    "hour_number",
    "job_parts",
    "job_tokens",
    "marked_name",
    "metadata_token",
    "name_token",
    "ngrams_of",
    "ngrams_of_name",
    "parse_free_text",
    "token",
]
