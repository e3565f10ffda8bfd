"""HTTP edge, a module for each kind of thing: for administrators alone; no merchant, by key or in person, comes in here."""
