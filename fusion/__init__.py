"""How several modalities become one prediction: early, late and in between."""
