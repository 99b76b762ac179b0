"""Plain ml_collections files: data only, one per experiment, each with its command, its time and what to expect."""
