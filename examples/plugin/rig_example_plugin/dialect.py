"""An LED dialect, as text; a path of a .yaml file in the package does as well."""

TEXT = """
format: rig-dialect/1
name: example-board
baud: 115200
line_ending: "\\n"
index_base: 1
turn_on:
  send: "ON {led}"
  reply: "ON {led}\\n"
all_off:
  send: "OFF"
  reply: "OFF\\n"
"""
