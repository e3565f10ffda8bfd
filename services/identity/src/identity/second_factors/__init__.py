"""Second factors of people: enrolled and removed by themselves, or removed by an administrator when they are lost."""

from identity.second_factors.operations import confirm, enrol, new_recovery_codes, remove, reset_merchant, reset_staff
from identity.second_factors.queries import get

__all__ = ["confirm", "enrol", "get", "new_recovery_codes", "remove", "reset_merchant", "reset_staff"]
