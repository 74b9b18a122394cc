"""Measuring a surface, as an engineer reads it off.

- `grid`: heights on a regular grid in x and y
- `form`: planes, spheres, cylinders, polynomials taken away
- `filters`: Gaussian filters with a cut-off (ISO 16610)
- `areal`, `profile`, `dimension`: parameters (ISO 25178-2, ISO 21920-2, ISO 5436-1, ISO 12781-1)
- `measure`: all of that with uncertainty
- `accuracy`: a result against the truth; `compare`: two surfaces against each other
"""
