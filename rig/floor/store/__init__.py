"""A memory of every result: a database that is made from the folders and can be made anew."""
