"""The page about finished runs, made from the files that they left."""
