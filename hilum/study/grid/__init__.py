"""From a study file to cells, their cost and the time left."""
