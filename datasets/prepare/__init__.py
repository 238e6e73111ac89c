"""Raw cases onto one grid, cropped to the body, into a case store."""
