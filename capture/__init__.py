"""A plan and two devices in, a recording out: frames and the proof of what lit them."""
