"""The model as a service: predictions and explanations over HTTP."""
