"""A GenICam camera of our own: a GenTL producer in C, and the process that feeds it.

`producer/` is the transport that any GenTL consumer loads (``rig-virtual.cti``). The camera behind
it (`device`) lives where the world lives, in the process of ``rig virtual-rig``; registers reach it
over a local socket and pixels leave it through shared memory (`server`). It knows cameras and
boards, not parts.
"""
