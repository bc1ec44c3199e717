"""Server of the engines behind Segmind's HTTP API. Requires aiohttp (the extra `server`)."""
