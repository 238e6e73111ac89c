"""Learn an encoder from unlabelled scans."""
