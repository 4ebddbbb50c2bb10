"""Around a run: parameters are checked, a run resumes, errors become one line."""
