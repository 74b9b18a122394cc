"""LED boards: messages, the serial driver, dialects, the virtual board."""
