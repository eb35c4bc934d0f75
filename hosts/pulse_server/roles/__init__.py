"""The three roles of a host: pipeline, deliver, web. Each starts, says whether it is ready, and stops in order."""
