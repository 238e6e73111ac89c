"""The network that a folder holds, and all that is done with a trained one."""
