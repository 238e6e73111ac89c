"""Pages that need no other file and no network: one look, shared parts, templates by jinja2."""
