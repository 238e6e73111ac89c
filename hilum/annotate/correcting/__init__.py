"""Correct proposals in the viewer: accept, reject, grow, shrink, add by a click, undo."""
