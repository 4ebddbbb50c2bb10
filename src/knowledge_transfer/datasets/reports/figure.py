"""Figures as PNG."""

from __future__ import annotations

from kedro_datasets.matplotlib import MatplotlibDataset as _MatplotlibDataset

from knowledge_transfer.datasets.reports.whole_file import WholeFile


class MatplotlibDataset(WholeFile, _MatplotlibDataset):
    """A figure as PNG."""

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Return whether it begins and ends as a PNG does."""
        return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
