"""Images, labels and shards: everything about data that needs no cluster."""
