"""HTTP edge, a module for each kind of thing: each handler is admitted by what it declares, parses, and calls once."""
