"""The one error of the private stack: something a person can put right, said so that they know how."""


class StackError(Exception):
    """Nothing is broken in the code: the message says what is in the way and what to do about it."""
