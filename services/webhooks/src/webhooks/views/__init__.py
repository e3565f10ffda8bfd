"""What the API takes and shows: `X` is answered, `XIn` is what makes one, `XPatch` what changes one."""
