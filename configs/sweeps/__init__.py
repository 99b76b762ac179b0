"""What sweeps try: ``get_space()`` returns {field: {kind: values}} (docs/sweeps.md). Data only."""
