"""Where the time of a net goes, and why a convolution is done as it is: `profile` and `explain`."""

from .explaining import Explanation, explain
from .profiling import Profile, profile

__all__ = ["Explanation", "Profile", "explain", "profile"]
