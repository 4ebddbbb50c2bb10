"""Tables as CSV."""

from __future__ import annotations

from kedro_datasets.pandas import CSVDataset as _CSVDataset

from knowledge_transfer.datasets.reports.whole_file import WholeFile


class CSVDataset(WholeFile, _CSVDataset):
    """A table as CSV."""

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Return whether its last line is complete, and nothing in it is binary."""
        return content.endswith(b"\n") and b"\0" not in content
