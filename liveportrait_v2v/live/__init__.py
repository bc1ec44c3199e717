"""A camera's face drives a source, frame by frame, in a page of the browser. Requires aiohttp (the extra `server`)."""
