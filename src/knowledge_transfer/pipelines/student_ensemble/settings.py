"""Settings of the study student_ensemble."""

from __future__ import annotations

from knowledge_transfer.pipelines.study_settings import Study


class Settings(Study):
    """The study."""
