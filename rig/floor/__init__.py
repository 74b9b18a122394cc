"""The shop floor: what people do with measured parts every day.

- `store`: a database of every run's figures; the folders stay the truth
- `plans`: what is inspected on a type of part, and how it is decided
- `defects`: dents, scratches and burrs
- `study`: whether the gauge is capable; control charts
- `accept`: known artefacts, maximum permissible errors, certificates
- `pages`: the web application of the operator
- `interfaces`: MQTT, OPC UA, Q-DAS

It may import everything; nothing but the command files under `rig.commands` imports it.
"""
