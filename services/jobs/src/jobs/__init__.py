"""Jobs: the work that merchants order, and the actions that it consists of."""
