"""Every figure of a result, computed from kept predictions: metrics, intervals and tests."""
