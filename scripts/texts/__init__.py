"""Parts of make_docs.py: English and translated texts of nodes and parameters, schemas of JSON files."""
