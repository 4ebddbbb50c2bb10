"""Settings of the study dark_knowledge."""

from __future__ import annotations

from knowledge_transfer.pipelines.study_settings import Study


class Settings(Study):
    """The study."""
