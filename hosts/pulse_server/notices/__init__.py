"""Open streams of notices: who looks on, what each is told, and when a stream ends."""
