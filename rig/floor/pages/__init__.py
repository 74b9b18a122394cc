"""The web application of the shop floor: one page for the operator, history, charts, live."""
