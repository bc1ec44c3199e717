"""Parts of make_templates.py: graphs of nodes, what is in each template, the blueprint, thumbnails."""
