"""What is stored under an older key or pepper is stored under the newest one, so that the older can be taken out of the settings."""

from identity.key_renewal.operations import (
    count_older_digests,
    count_sealed_with_older,
    redigest,
    redigest_used,
    reseal,
)

__all__ = ["count_older_digests", "count_sealed_with_older", "redigest", "redigest_used", "reseal"]
