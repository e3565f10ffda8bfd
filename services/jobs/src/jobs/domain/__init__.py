"""Rules of jobs, pure: `states` (how a job moves), `placing` (where it may be), `terms` (how it is found), `codes` (lists of codes)."""
