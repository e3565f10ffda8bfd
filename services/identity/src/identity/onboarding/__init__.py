"""Onboarding: a new tenant with its owner and its default location."""

from identity.onboarding.operations import create_tenant

__all__ = ["create_tenant"]
