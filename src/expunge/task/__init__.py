"""The question and its answer: goal, task, edit, and how well the goal holds."""
