"""The tests, by what they are about; what they share is in `tests.harness`."""
