"""From finished cells to tables, statistics and the HTML report."""
