"""CAD files whose surfaces are curved: they are refused, with what to do."""

CURVED = (".step", ".stp", ".iges", ".igs")
CURVED_ADVICE = (
    "holds curved CAD surfaces, which are not read: save it as .stl with a chord height below a "
    "tenth of the tightest tolerance"
)
