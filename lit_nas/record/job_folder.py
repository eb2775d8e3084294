"""What jobs leave behind in folders and in the environment of their stages."""

import re

__all__ = ("ASIDE", "COMMAND", "ORDER")

ORDER = "stage.json"
"""The file in the folder of a stage that says what it does."""
ASIDE = re.compile(r"-\d+$")
"""What the name of a folder ends in that holds an old stage, which has been done again."""
COMMAND = "LIT_NAS_JOB"
"""The environment variable that tells a stage by which command its job was started."""
