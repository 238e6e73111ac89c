"""Start from pretrained weights, and how gently to train them."""
