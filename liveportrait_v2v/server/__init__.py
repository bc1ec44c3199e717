"""The engines behind Segmind's HTTP API, for one's own GPU machine. Needs aiohttp (the extra `server`)."""
