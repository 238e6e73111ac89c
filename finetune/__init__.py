"""Learn to segment from few labelled cases."""
