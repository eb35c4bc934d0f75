"""Who gets in: the desk at which every way in hands messages over, the device directory, rate limits, the gate."""
