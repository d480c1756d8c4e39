"""Names of the files that a finished run leaves in its directory."""

from __future__ import annotations

SETTINGS = "settings.json"
"""The run's settings; of a cross-validation and of a sweep as well."""
BEST = "best"
"""Directory of the best epoch's checkpoint."""
HISTORY = "history.json"
"""One record per epoch."""
PREDICTIONS = "predictions.parquet"
"""The best epoch's predictions on the validation and test parts. It is written last: a run that
has it is finished. Of a cross-validation and of a sweep, the predictions of all test folds."""
