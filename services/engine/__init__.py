"""The program behind ``twistd engine``."""
