"""Tests of the private stack: one that runs for all of this package that look at one."""
