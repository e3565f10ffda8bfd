"""Jobs: work that merchants order, and the actions that it consists of. This service owns both, and imports of jobs."""
