"""The LivePortrait engine: the published networks, on the user's own machine."""
