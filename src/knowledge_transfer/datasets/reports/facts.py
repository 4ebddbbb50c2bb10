"""Facts as JSON."""

from __future__ import annotations

import json

from kedro_datasets.json import JSONDataset as _JSONDataset

from knowledge_transfer.datasets.reports.whole_file import WholeFile


class JSONDataset(WholeFile, _JSONDataset):
    """Facts as JSON."""

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Return whether it can be parsed."""
        try:
            json.loads(content)
        except ValueError:  # of another encoding, too
            return False
        return True
