"""How machines talk with the rig: MQTT, OPC UA, Q-DAS files."""
