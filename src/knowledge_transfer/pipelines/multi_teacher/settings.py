"""Settings of the study multi_teacher."""

from __future__ import annotations

from knowledge_transfer.pipelines.study_settings import Study


class Settings(Study):
    """The study."""
