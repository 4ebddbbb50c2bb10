"""What the arms of the study are called, in tables and in code."""

TEACHER, STUDENT, MEMBERS = "teacher", "student", "members"
BOOSTED, EQUAL = "boosted", "equal"  # members trained in sequence, and as many of the same shape that are not
ON_LABELS = " on labels"  # behind the name of an arm: what its models are without the teacher
