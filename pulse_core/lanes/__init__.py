"""Where batches form: a lane's queue, its timers, the clocks that silence is judged by."""
