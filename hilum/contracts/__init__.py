"""What every method of a kind must keep, ours and anyone's: run by `hilum contract`."""
