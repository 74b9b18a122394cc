"""Captures from elsewhere and for elsewhere: exchange folder, DPPS and LUCES layouts.

`capture.exchange.importing.import_folder` makes a recording of one,
`capture.exchange.exporting.export_recording` writes an exchange folder.
"""
