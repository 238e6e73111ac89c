"""Segment raw scans: masks, node tables, pictures, pages."""
