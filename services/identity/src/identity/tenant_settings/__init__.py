"""The settings of a tenant: how its merchants see their keys, how long its sessions last, what it is mailed, who needs a second factor.

They are part of the tenant: one row, one version. They stand above merchants, because changing how keys are revealed deletes stored keys.
"""

from identity.tenant_settings.operations import get, update

__all__ = ["get", "update"]
