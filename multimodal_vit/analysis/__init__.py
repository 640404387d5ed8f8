"""Everything that reads results: tables, figures. Never imported by training."""
