"""Types of values that clients send to more than one service: each has one rule and one stored form.

A field adds what is its own: a description, a limit, a default. `Optional…` types accept null, and blank text as null. Import from the
modules: `contact` loads large tables, which not every service needs.
"""
