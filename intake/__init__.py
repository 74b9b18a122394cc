"""Reading files that nobody vetted: every reader of every room takes its bytes from here.

A file may be of any size and contents; what comes back is checked, or `InputError` says in one
sentence what is wrong. Nothing here knows what the data mean, and nothing of ours is imported.
"""
