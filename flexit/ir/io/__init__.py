"""Text in and out: YAML and JSON with positions, canonical form, schema export, migration of older versions."""
