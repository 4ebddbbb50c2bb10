"""Pages as HTML."""

from __future__ import annotations

from kedro_datasets.text import TextDataset as _TextDataset

from knowledge_transfer.datasets.reports.whole_file import WholeFile


class TextDataset(WholeFile, _TextDataset):
    """A page as HTML."""

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Return whether its last element is closed."""
        return content.rstrip().endswith(b"</html>")
